# %% [markdown] seconds=10
# # 12 · 1x1 convolutions and bottlenecks
#
# A 1x1 kernel sees a single pixel. It finds no edge and no corner: space means nothing to it. What it can do is mix the
# channels of that pixel. Lin et al. (2013) called it a network in the network; GoogLeNet, ResNet-50 and SqueezeNet are
# built around it, because it makes 3x3 kernels cheap.

# %%
import time

import numpy as np

import tinycnn as tc
from tinycnn import functional as F
from tinycnn import nn, plotting
from tinycnn.data import Glyphs
from tinycnn.lesson import FAST, check, show
from tinycnn.optim import SGD

rng = np.random.default_rng(0)

# %% [markdown]
# ## The same small matrix at every pixel
#
# > A colour image has three channels. Which 1x1 convolution turns it to grey? Which swaps red and blue? Which makes
# > the negative? Write each as a matrix with a row for every output channel.

# %%
images = Glyphs("test", 48, 3, count=100).images / 255
colourful = images.std(axis=1).mean(axis=(1, 2)).argmax()
photo = tc.Tensor(images[[colourful]])  # (1, 3, 48, 48), in float64
third = np.full((1, 3), 1 / 3)
mixes = {
    "grey: the mean": (third, [0]),
    "red and blue swapped": (np.eye(3)[::-1], [0, 0, 0]),
    "negative": (-np.eye(3), [1, 1, 1]),
    "red minus green": (np.array([[0.5, -0.5, 0]]), [0.5]),
}


def mix(image, matrix, bias):
    """Apply a 1x1 convolution whose weight is the matrix."""
    return F.conv2d(image, tc.Tensor(np.asarray(matrix, float)[:, :, None, None]), tc.Tensor(np.asarray(bias, float)))


figure = plotting.new_figure(9, 2.2)
gaps = []
for axes, (name, (matrix, bias)) in zip(figure.subplots(1, 5), {"image": (np.eye(3), [0, 0, 0]), **mixes}.items()):
    out = mix(photo, matrix, bias).data[0]
    pixels = photo.data[0].reshape(3, -1)  # a column for each pixel
    gaps.append(np.abs(out.reshape(len(out), -1) - (np.asarray(matrix) @ pixels + np.reshape(bias, (-1, 1)))).max())
    axes.imshow(out.transpose(1, 2, 0)[:, :, :3].squeeze(), cmap="gray", vmin=0, vmax=1)
    axes.set_title(name, fontsize=9)
    axes.set_axis_off()
show(figure, "Four 1x1 convolutions of one image: each output pixel is a mixture of the channels of one input pixel.")
print(f"convolution and matrix product differ by at most {max(gaps):.0e}")

# %% [markdown]
# So a 1x1 convolution is a fully connected layer that is applied to every pixel by itself.
#
# > Shuffle all pixels of an image, convolve, and put them back in their places. For which kernels is the result the
# > same as without shuffling?

# %%
maps = rng.normal(size=(1, 8, 12, 12))
order = rng.permutation(144)
shuffled = maps.reshape(1, 8, 144)[:, :, order].reshape(maps.shape)
change = {}
for kernel in (1, 3):
    weight = tc.Tensor(rng.normal(size=(4, 8, kernel, kernel)))
    plain, moved = (F.conv2d(tc.Tensor(m), weight, padding=kernel // 2).data.reshape(4, 144) for m in (maps, shuffled))
    change[kernel] = np.abs(plain[:, order] - moved).max()
    print(f"{kernel}x{kernel}: shuffling changes the output by up to {change[kernel]:.1e}")

# %% [markdown]
# ## Unmixing
#
# Three grey pictures are mixed into three channels by a matrix. Each channel now shows a bit of all three. A 1x1
# convolution with nine weights sees mixtures and pictures, and learns by gradient descent.
#
# > Can it separate them? What will its weights be? Could it learn to blur the pictures just as well?

# %%
pictures = Glyphs("test", 32, count=90, difficulty=0.5).images.reshape(30, 3, 32, 32) / 255 - 0.5  # three a sample
matrix = np.array([[0.6, 0.3, 0.3], [0.2, 0.7, 0.3], [0.4, 0.1, 0.6]])
mixed = np.einsum("ij,njhw->nihw", matrix, pictures)
blurred = sum(np.roll(pictures, (i, j), (2, 3)) for i in (-1, 0, 1) for j in (-1, 0, 1)) / 9
left = {}
for name, target in {"the pictures": pictures, "the pictures, blurred": blurred}.items():
    tc.manual_seed(0)
    layer = nn.Conv2d(3, 3, 1, bias=False).to(np.float64)
    optimizer, losses = SGD(layer.parameters(), lr=2.0, momentum=0.9), []
    for _ in range(300 if FAST else 600):
        loss = F.mse_loss(layer(tc.Tensor(mixed)), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item() / target.var())
    left[name] = losses
    print(f"target: {name:22} error left: {100 * losses[-1]:.4f} % of the variance")
    if name == "the pictures":
        learned, inverse = layer.weight.data[:, :, 0, 0].copy(), np.linalg.inv(matrix)
        separated = layer(tc.Tensor(mixed[:1])).data
print("learned weights\n", learned.round(3), "\ninverse of the matrix\n", inverse.round(3))

shown = np.concatenate([pictures[0], mixed[0], separated[0]])
figure = plotting.new_figure(9, 1.5)
for place, (axes, channel) in enumerate(zip(figure.subplots(1, 9), shown)):
    axes.imshow(channel, cmap="gray", vmin=-0.6, vmax=0.6)
    axes.set_axis_off()
    if place % 3 == 1:
        axes.set_title(("three pictures", "mixed", "unmixed by a 1x1")[place // 3], fontsize=10)
show(figure, "Nine weights separate what nine weights have mixed: the layer has found the inverse matrix.")

# %% [markdown]
# ## The bottleneck
#
# ResNet-50 has blocks for 256 channels: 1x1 down to 64, 3x3 there, 1x1 back up to 256 (He et al. 2015, figure 5). The
# basic block of ResNet-34 has two 3x3 convolutions. GoogLeNet puts a 1x1 to 16 channels before its 5x5 from 192 to 32
# (Szegedy et al. 2014, inception 3a).
#
# > Count the weights of two 3x3 on 256 channels, of the bottleneck, and of two 3x3 on 64 channels. Which two of the
# > three cost about the same?


# %%
def chain(*layers):
    """Return convolutions given as (inputs, outputs, kernel)."""
    return nn.Sequential(*(nn.Conv2d(i, o, k, padding=k // 2, bias=False) for i, o, k in layers))


blocks = {
    "two 3x3, 256 channels": (chain((256, 256, 3), (256, 256, 3)), 256, 56),
    "bottleneck 256-64-64-256": (chain((256, 64, 1), (64, 64, 3), (64, 256, 1)), 256, 56),
    "two 3x3, 64 channels": (chain((64, 64, 3), (64, 64, 3)), 64, 56),
    "5x5, 192 to 32": (chain((192, 32, 5)), 192, 28),
    "1x1 to 16, then 5x5": (chain((192, 16, 1), (16, 32, 5)), 192, 28),
}
weights, work = {}, {}
print("                             weights  multiply-adds  one image")
for name, (block, inputs, side) in blocks.items():
    table = tc.summary(block, (inputs, side, side))
    weights[name], work[name] = table.parameters, table.multiply_adds
    image = tc.Tensor(rng.normal(size=(1, inputs, side, side)).astype(np.float32))
    with tc.no_grad():
        block(image)
        start = time.perf_counter()
        block(image)
    print(f"{name:25} {weights[name]:10,} {work[name]:14,} {1000 * (time.perf_counter() - start):7.1f} ms")

figure, grid = plotting.panels(9, 3, 2)
plotting.bars(grid[0], list(work), [n / 1e6 for n in work.values()])
grid[0].set_xlabel("multiply-adds (millions)")
widths = np.arange(1, 257)
sandwich = 2 * 256 * widths + 9 * widths**2
plotting.curve(grid[1], widths, sandwich / 1e3, "1x1, 3x3, 1x1", 1)
grid[1].axhline(9 * 256**2 / 1e3, color="black", linewidth=1, label="one 3x3")
grid[1].set(xlabel="channels in the middle, of 256", ylabel="weights (thousands)")
grid[1].legend()
show(
    figure, "Left: what the blocks cost. Right: a sandwich is cheaper than one 3x3 unless its middle is nearly as wide."
)
even = int(widths[sandwich < 9 * 256**2].max())
print(f"with up to {even} channels in the middle, the sandwich has fewer weights than one 3x3 on 256 channels")

# %%
full, narrow, small, direct, reduced = weights.values()
check("a 1x1 convolution is a matrix product at each pixel, to 1e-12", max(gaps) < 1e-12)
check("it does not see where pixels are; a 3x3 does", change[1] < 1e-12 < 1 < change[3])
check("it learns to unmix: the inverse matrix, to 0.01", np.abs(learned - inverse).max() < 0.01)
check("it cannot learn to blur", left["the pictures, blurred"][-1] > 0.01)
check("two 3x3 on 256 channels: 1,179,648 weights; the bottleneck: 69,632", (full, narrow) == (1179648, 69632))
check("the bottleneck on 256 channels costs less than two 3x3 on 64", narrow < small == 73728)
check("GoogLeNet's 1x1 makes its 5x5 cheaper: 15,872 weights, not 153,600", (reduced, direct) == (15872, 153600))

# %% [markdown]
# The price: everything must pass through the narrow middle. In ResNet the shortcut carries the 256 channels around it
# (lesson 10); SqueezeNet takes the idea further (lesson 14).
#
# ## Exercises
#
# 1. Mix four pictures into three channels. Can nine, or twelve, weights separate them? Why not, and what does that say
#    about a bottleneck?
# 2. For which width in the middle is the sandwich equally expensive as one 3x3, when there are $C$ channels outside?
#    Solve it with pen and paper, and compare with `even`.
# 3. Make a net of 1x1 convolutions, ReLU and one global average pool, and train it on glyphs with `tinycnn.lesson.fit`.
#    What can it know of a digit, and what accuracy does it reach?
