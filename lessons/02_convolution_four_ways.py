# %% [markdown] seconds=15
# # 02 · Convolution four ways
#
# A convolution is six nested loops around one multiplication and one addition. This lesson writes them down, then
# computes the same numbers three more times, each time in a way a machine likes better. First, though: how many numbers
# come out?

# %%
import timeit

import numba
import numpy as np

import tinycnn as tc
from tinycnn import functional as F
from tinycnn import plotting
from tinycnn.data import Glyphs
from tinycnn.lesson import FAST, check, show

# %% [markdown]
# ## How large is the output?
#
# A kernel of size $k$ starts at the left edge of an image of size $H$, with $p$ zeros added on each side, and moves
# $s$ pixels at a time. It stops when the next step would stick out:
#
# $$H_{out} = \lfloor (H + 2p - k) / s \rfloor + 1$$
#
# > AlexNet's first layer has 11x11 kernels and stride 4 on images of 224x224 pixels, and its output measures 55x55
# > (Krizhevsky et al. 2012, section 3.5). Compute it. What must be different for 55 to come out?


# %%
kernel, stride, sizes = 11, 4, {}
print("image  padding  (H + 2p - k) / s + 1   output")
for size, padding in ((224, 0), (224, 1), (224, 2), (227, 0)):
    exact = (size + 2 * padding - kernel) / stride + 1
    image, weight = (tc.Tensor(np.zeros((1, 1, n, n), np.float32)) for n in (size, kernel))
    sizes[size, padding] = F.conv2d(image, weight, stride=stride, padding=padding).shape[-1]
    print(f"{size:5} {padding:8} {exact:20} {sizes[size, padding]:9}")

figure, grid = plotting.panels(9, 3.6, 1, 3)
for axes, (size, padding) in zip(grid, ((224, 0), (224, 2), (227, 0))):
    axes.axvspan(196, size, color="0.9")
    axes.axvspan(size, size + padding, facecolor="none", edgecolor=plotting.GREY, hatch="////")
    count = sizes[size, padding]
    for row in range(4):
        left = (count - 1 - row) * stride - padding
        axes.barh(row, kernel, left=left, height=0.7, color=plotting.BLUE if row else plotting.RED)
        axes.text(left + 5.5, row, f"output {count - row}", ha="center", va="center", color="white", fontsize=8)
    axes.text(231, 1.5, f"{size} pixels, padding {padding}:\n{count} outputs", fontsize=9, va="center")
    axes.set(xlim=(196, 244), ylim=(3.6, -0.6), yticks=[], xticks=range(196, 229, 4))
    axes.grid(visible=False)
axes.set_xlabel("pixel at the right edge (grey: image; hatched: zeros)")
show(figure, "The last four places of an 11-pixel kernel of stride 4. With 224 pixels and no padding only 54 fit.")

# %% [markdown]
# 224 pixels give 54.25: rounded down 54, and the last pixel is never seen. Images of 227 pixels give 55 exactly. Two
# zeros on each side give 55.25, so 55 too, and what is left over is a zero, not a pixel. tinycnn pads by 2.
#
# ## One: loops
#
# The definition, read aloud: for each output map, each row, each column, add up over input maps and kernel.


# %%
def loops(image, weight):
    """Convolve maps (C, H, W) with kernels (O, C, k, k) to maps (O, H - k + 1, W - k + 1)."""
    maps, channels, size, _ = weight.shape
    height, width = image.shape[1] - size + 1, image.shape[2] - size + 1
    out = np.zeros((maps, height, width))
    for o in range(maps):
        for y in range(height):
            for x in range(width):
                for c in range(channels):
                    for i in range(size):
                        for j in range(size):
                            out[o, y, x] += image[c, y + i, x + j] * weight[o, c, i, j]
    return out


# %% [markdown]
# ## Two: im2col
#
# Machines multiply matrices well. So write each patch of the image as a row of a matrix, each kernel as a column of
# another: their product is the convolution.
#
# > Patches overlap. A 3x3 kernel of stride 1 copies each pixel how often? How large is the matrix for a batch of 64
# > maps of 56x56 in float32?


# %%
def patches(image, size):
    """Return maps (C, H, W) as a matrix with a row for each output pixel: its patch of C * size * size numbers."""
    windows = np.lib.stride_tricks.sliding_window_view(image, (size, size), axis=(1, 2))  # (C, H', W', k, k)
    return windows.transpose(1, 2, 0, 3, 4).reshape(windows.shape[1] * windows.shape[2], -1)


def im2col(image, weight):
    maps, _, size, _ = weight.shape
    out = patches(image, size) @ weight.reshape(maps, -1).T
    return out.T.reshape(maps, image.shape[1] - size + 1, image.shape[2] - size + 1)


glyph = Glyphs("test", size=10, count=4, difficulty=0.0).images[3] / 255
matrix = patches(glyph, 3)
figure = plotting.new_figure(8, 3.4)
left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
left.imshow(glyph[0], cmap="gray")
right.imshow(matrix, cmap="gray", aspect="auto", interpolation="nearest")
for row, series, line in ((9, 1, "-"), (29, 0, "-"), (30, 3, "--")):
    colour, (y, x) = plotting.SERIES[series][0], divmod(row, 8)
    edge = np.array([[0, 3, 3, 0, 0], [0, 0, 3, 3, 0]]) - 0.5
    left.plot(x + edge[0], y + edge[1], line, color=colour, linewidth=2.5)
    place = {"color": colour, "va": "center", "arrowprops": {"arrowstyle": "-"}}
    right.annotate(f"patch {row}", (8.5, row), (9.3, row + (row == 30) * 4), **place)
right.set(xlabel="place in the patch", ylabel="patch")
show(figure, "An image and its matrix of patches. Patches 29 and 30 share six pixels: it holds them twice.")
pixels = 64 * 64 * 56 * 56 * 4 / 1e6
print(f"64 images, 64 maps of 56x56: {pixels:.0f} MB of pixels, {9 * pixels:.0f} MB of patches")

# %% [markdown]
# ## Three and four: the loops compiled, and the fast path
#
# Each `*` of Python's loops asks what its operands are. Numba reads the very function above and makes machine code of
# it, in which a number is a number. `F.conv2d`, on which our networks run, also uses vector instructions and keeps what
# it needs near the processor. Its `"direct"` algorithm is a loop, too.
#
# > Put the ways in order of time. By which factor is each faster than Python's loops? Write three numbers down.

# %%
rng = np.random.default_rng(0)
channels, maps, side = (8, 8, 18) if FAST else (16, 32, 34)
image, weight = rng.normal(size=(channels, side, side)), rng.normal(size=(maps, channels, 3, 3))
compiled = numba.njit(loops)


def fast_path(image, weight):
    return F.conv2d(tc.Tensor(image[None]), tc.Tensor(weight), algorithm="direct").data[0]


def seconds(function, *arguments, times=9):
    return min(timeit.repeat(lambda: function(*arguments), number=1, repeat=times))


ways = {"loops in Python": loops, "im2col and NumPy": im2col, "loops in Numba": compiled, "fast path": fast_path}
reference, nanoseconds, gaps = loops(image, weight), {}, {}
adds = reference.size * channels * 9
for name, way in ways.items():
    gaps[name] = np.abs(way(image, weight) - reference).max()  # this first call also compiles
    nanoseconds[name] = 1e9 * seconds(way, image, weight, times=1 if way is loops else 9) / adds
    print(f"{name:17} {nanoseconds[name]:9.3f} ns for each multiply-add, differs by {gaps[name]:.0e}")

figure, axes = plotting.panels(8, 2.8)
plotting.bars(axes, list(ways), list(nanoseconds.values()), "{:,.3f} ns")
axes.set(xscale="log", xlim=(0.01, 3000), xlabel="time for one multiplication and one addition (ns, logarithmic)")
show(figure, "The same numbers, four ways. Each grid line is a factor of ten.")

# %% [markdown]
# Every way does the same multiplications. What differs is how long the processor has to wait for each of them.
#
# ## Fewer multiplications
#
# Winograd's algorithm saves arithmetic: for a 3x3 kernel it adds and subtracts pixels first, so that 36
# multiplications do for a 4x4 tile of outputs where the loops need 144 (Lavin and Gray 2016).
#
# > The numbers must stay the same. Do they, to the last digit, in float32?

# %%
batch, channels, side = (2, 16, 30) if FAST else (8, 64, 58)
images, weight = rng.normal(size=(batch, channels, side, side)), rng.normal(size=(channels, channels, 3, 3))
exact = F.conv2d(tc.Tensor(images), tc.Tensor(weight), algorithm="im2col").data
small, small_weight = (tc.Tensor(array, dtype=np.float32) for array in (images, weight))
double, single, speed = {}, {}, {}
print("               float64 differs   float32 differs   billion multiply-adds a second")
for name in ("im2col", "direct", "winograd"):
    with tc.convolution_algorithm(name), tc.no_grad():
        double[name] = np.abs(F.conv2d(tc.Tensor(images), tc.Tensor(weight)).data - exact).max() / exact.std()
        single[name] = np.abs(F.conv2d(small, small_weight).data - exact).max() / exact.std()
        speed[name] = exact.size * channels * 9 / seconds(F.conv2d, small, small_weight, times=3) / 1e9
    print(f"{name:10} {double[name]:19.1e} {single[name]:17.1e} {speed[name]:15.1f}")

# %%
check("224 pixels, kernel 11, stride 4 give 54; padding 2 or 227 pixels give 55", [*sizes.values()] == [54, 54, 55, 55])
check("four ways, the same numbers to 1e-11", max(gaps.values()) < 1e-11)
check("im2col holds nine numbers for each output pixel of a 3x3 kernel", matrix.shape == (64, 9))
check("the three algorithms agree to 1e-11 in float64", max(double.values()) < 1e-11)
check("and to 1e-4 in float32", max(single.values()) < 1e-4)

# %% [markdown]
# No claim above is about time: time belongs to a machine, numbers do not.
#
# ## Exercises
#
# 1. Give `loops` a stride and a padding, and let AlexNet's first layer pass through `compiled`. Does 55 come out?
# 2. Change the order of the six loops, say `c` outermost. The numbers stay; does the time of `compiled`? Why?
# 3. Let `side` grow in steps. Where does the matrix of `patches` outgrow your processor's cache? Do you see it?
