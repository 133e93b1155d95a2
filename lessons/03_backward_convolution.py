# %% [markdown] seconds=10
# # 03 · Backward through convolution and pooling
#
# A convolution sends each pixel along nine wires, each with a weight on it, to nine outputs. Backward sends the
# gradients of the outputs back along the same wires. It is easy to get wrong, and no error is raised: the net learns a
# little worse, for no visible reason. So gradients are checked, not believed.

# %%
from functools import partial

import numpy as np

import tinycnn as tc
from tinycnn import functional as F
from tinycnn import plotting
from tinycnn.data import Glyphs
from tinycnn.lesson import check, show

rng = np.random.default_rng(0)

# %% [markdown]
# ## Finite differences
#
# The gradient for a pixel is the rate at which the loss changes with the pixel. So change it: a little up, a little
# down, divide. This *finite difference* takes two forward passes a pixel; backward takes one pass for all of them.
#
# > The kernel below has an L in it. Let one output have the gradient 1 and all others 0. Which picture is the gradient
# > for the pixels: the L as it is, or turned by 180 degrees? What is it for average pooling, and for max pooling?

# %%
kernel = tc.Tensor(np.array([[[[2.0, -1, -1], [2, -1, -1], [2, 2, 2]]]]))
layers = {
    "convolution": lambda x: F.conv2d(x, kernel, stride=2, padding=1),
    "average pooling": lambda x: F.avg_pool2d(x, 3, 2),
    "max pooling": lambda x: F.max_pool2d(x, 3, 2),
}
glyph = Glyphs("test", 13, count=10, difficulty=0.0).images[[2]] / 255 + 0.1 * rng.random((1, 1, 13, 13))
pixels, step, gaps = np.eye(169).reshape(169, 1, 13, 13), 1e-4, []  # each image of the batch has one bright pixel
figure, grid = plotting.panels(8, 6.2, 4, 3)
for row, (name, layer) in zip(grid, layers.items()):
    x = tc.Tensor(glyph, requires_grad=True)
    out = layer(x)
    incoming = np.zeros(out.shape)
    incoming[0, 0, [0, 3, 3, 1], [0, 1, 2, 4]] = 1, 1, 1, -1
    up, down = ((layer(tc.Tensor(glyph + s * pixels)).data * incoming).sum(axis=(1, 2, 3)) for s in (step, -step))
    difference = ((up - down) / (2 * step)).reshape(glyph.shape)
    out.backward(incoming)
    gaps.append(np.abs(difference - x.grad).max())
    print(f"{name:15}: {2 * len(pixels)} forward passes and one backward pass differ by at most {gaps[-1]:.0e}")
    for axes, picture in zip(row, (glyph - 0.5, incoming, difference, x.grad)):
        limit = np.abs(picture).max()
        axes.imshow(picture[0, 0], cmap="gray" if axes is row[0] else "PuOr", vmin=-limit, vmax=limit)
        axes.set(xticks=[], yticks=[], ylabel=name if axes is row[0] else None)
show(figure, "Image; gradient for the outputs (purple 1, orange -1); for the pixels by differences; by backward.")

# %% [markdown]
# The L stands as it is in the kernel. Where windows overlap their gradients are added, at the border the kernel is cut
# off, and max pooling pays only the winner of each window. Now by hand: which pixels does each of the nine places of a
# kernel meet (`taps`)? Forward reads there, backward writes there.


# %%
def forward(*arrays, stride):
    x, *rest = map(tc.Tensor, arrays)
    return (F.conv2d(x, *rest, stride=stride, padding=1) if rest else F.max_pool2d(x, 3, stride)).data


def taps(grad, stride):
    for i, j in np.ndindex(3, 3):
        rows, columns = (slice(k, k + stride * n, stride) for k, n in zip((i, j), grad.shape[2:]))
        yield i, j, (..., rows, columns)


def conv_back(grad, x, w, b, stride, keep=1, edge=1):
    """Return gradients for images, kernels and bias. The two last arguments are there for making mistakes."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    dx, dw = np.zeros_like(padded), np.zeros_like(w)
    for i, j, here in taps(grad, stride):
        dx[here] = keep * dx[here] + np.einsum("oc,nohw->nchw", w[:, :, i, j], grad)
        dw[:, :, i, j] = np.einsum("nohw,nchw->oc", grad, padded[here])
    return dx[:, :, edge : edge + x.shape[2], edge : edge + x.shape[3]], dw, grad.sum(axis=(0, 2, 3))


def pool_back(grad, x, stride, keep=1, first=True):
    out, dx, waiting = forward(x, stride=stride), np.zeros_like(x), np.ones(grad.shape, bool)
    for _, _, here in taps(grad, stride):
        won = (x[here] == out) & waiting  # the first of equals
        dx[here] = keep * dx[here] + grad * won
        waiting &= ~won | (not first)
    return dx


class Layer(tc.Function):
    def forward(self, *arrays, back, stride=2):
        self.backward = lambda grad: back(grad, *arrays, stride)
        return forward(*arrays, stride=stride)


# %% [markdown]
# ## A gallery of wrong gradients
#
# > Below are eight gradients of the same loss for the same image. One of them is right. Which?

# %%
gallery = {
    "right": conv_back,
    "kernel flipped": lambda g, x, w, b, s: conv_back(g, x, w[:, :, ::-1, ::-1], b, s),
    "kernel transposed": lambda g, x, w, b, s: conv_back(g, x, w.swapaxes(2, 3), b, s),
    "= in place of +=": partial(conv_back, keep=0),
    "mean in place of sum": lambda g, *rest: conv_back(g / len(g), *rest),
    "padding off by one": partial(conv_back, edge=0),
    "last row forgotten": lambda g, *rest: conv_back(g * (np.arange(g.shape[2], 0, -1) > 1)[:, None], *rest),
    "reshape, not transpose": lambda g, *rest: conv_back(g.swapaxes(0, 1).reshape(g.shape), *rest),
    "bias of one image": lambda g, *rest: (*conv_back(g, *rest)[:2], g[0].sum(axis=(1, 2))),
    "pool: = in place of +=": partial(pool_back, keep=0),
    "pool: all equals paid": partial(pool_back, first=False),
    "pool: right": pool_back,
}
arrays = Glyphs("test", 24, count=20, difficulty=0.0).images[[2, 5]] / 255, rng.normal(size=(3, 1, 3, 3)), np.zeros(3)
pictures = [back(forward(*arrays, stride=1), *arrays, 1)[0][0, 0] for back in list(gallery.values())[:8]]
order = dict(zip("ABCDEFGH", rng.permutation(8)))
figure, grid = plotting.panels(9, 4.8, 4, 2)
for axes, (letter, number) in zip(grid.flat, order.items()):
    limit = np.abs(pictures[number]).max()
    axes.imshow(pictures[number], cmap="PuOr", vmin=-limit, vmax=limit)
    axes.set(title=letter, xticks=[], yticks=[])
show(figure, "Gradients of half the sum of the squares of all outputs, for each pixel. Seven are wrong.")
downhill = [np.vdot(picture, pictures[0]) / np.linalg.norm(picture) for picture in pictures]
for letter, number in order.items():
    print(f"{letter}: {list(gallery)[number]:23} cosine with the right one {downhill[number] / downhill[0]:.2f}")

# %% [markdown]
# ## Checks, and what they miss
#
# Even the wrong ones point more or less downhill, and one looks right: nets learn with them, unnoticed.
# `tc.gradcheck` takes the differences of every element of every input. That takes long, so people look at a few, or at
# a simple case. A better shortcut: convolution is linear in the image, $y = A x$, and backward is its transpose. The
# *adjoint test* takes one pass and no step: $\langle A x, g \rangle = \langle x, A^T g \rangle$ for any $x$ and $g$.
#
# > Lazy checks: one image; a kernel of ones; the sum of all outputs as loss; windows that do not overlap; five elements
# > at random. Which mistake of the gallery does each of them miss? Which one is invisible to finite differences?


# %%
def differences(layer, *arrays, elements=np.inf):
    """Return the chance to find a wrong derivative among ``elements`` random ones."""
    found = tc.gradcheck(layer, [tc.Tensor(array, requires_grad=True) for array in arrays], raise_error=False)
    return 1 - (1 - len(found.mismatches) / found.checked) ** elements


def adjoint(layer, *arrays):
    """Return True if the test fails. The output is linear in image and bias, and in kernel and bias."""
    inputs = [tc.Tensor(array, requires_grad=True) for array in arrays]
    out = layer(*inputs)
    out.backward(grad := rng.normal(size=out.shape))
    products = [np.vdot(x.data, x.grad) for x in inputs]
    return max(abs(np.vdot(out.data, grad) - product - sum(products[2:])) for product in products[:2]) > 1e-9


checks = {
    "every\nelement": differences,
    "adjoint\ntest": adjoint,
    "one\nimage": lambda layer, x, *rest: differences(layer, x[:1], *rest),
    "kernel\nof ones": lambda layer, x, *rest: differences(layer, x, *(array**0 for array in rest)),
    "sum\nas loss": lambda layer, *arrays: differences(lambda *t: layer(*t).sum(), *arrays),
    "no\noverlap": lambda layer, *arrays: differences(partial(layer, stride=3), *arrays),
    "five\nelements": partial(differences, elements=5),
}
arrays, rows = (rng.normal(size=(2, 2, 6, 7)), rng.normal(size=(3, 2, 3, 3)), rng.normal(size=3)), []
for name, back in gallery.items():
    inputs = [np.round(3 * arrays[0])] if "pool" in name else arrays  # rounded: so that there are ties
    rows.append([chance(partial(Layer.apply, back=back), *inputs) for chance in checks.values()])
right, wrong = np.array(rows)[[0, -1]], np.array(rows[1:-1], float)
figure, axes = plotting.panels(9, 4.4)
axes.imshow(-wrong, cmap="Oranges", vmax=0.9, aspect="auto")
for (i, j), chance in np.ndenumerate(wrong):
    axes.text(j, i, {0: "missed", 1: "caught"}.get(chance, f"{100 * chance:.1f} %"), ha="center", va="center")
axes.set(xticks=range(7), xticklabels=checks, yticks=range(10), yticklabels=list(gallery)[1:-1])
axes.grid(visible=False)
show(figure, "Which check catches which mistake; for five random elements, how often.")

# %%
check("finite differences and backward agree to 1e-9", max(gaps) < 1e-9)
check("the two right ones pass every check", not right.any())
check("differences miss one mistake, the one at ties; the adjoint test none", [*wrong[:, :2].sum(axis=0)] == [9, 10])
check("each lazy check misses two or more", ((wrong[:, 2:] < 0.5).sum(axis=0) >= 2).all())
check("five random elements find the wrong bias less than once in ten", 0 < wrong[7, -1] < 0.1)

# %% [markdown]
# ## Exercises
#
# 1. Where pixels tie, the maximum has a kink. Which slopes do finite differences find there, and `tc.gradcheck`?
# 2. Change all inputs at once, along a random direction: two forward passes. Add this to `checks`. What does it miss?
# 3. Train the net of lesson 00 with one of the mistakes in its first layer. How much accuracy does it cost?
