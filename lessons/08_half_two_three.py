# %% [markdown] seconds=5
# # 08 · 0.5, 2 and 3 to the power of n
#
# Backward multiplies one factor for each layer. Multiply by 0.5 again and again, and little is left; multiply by 2 or
# by 3, and soon there is too much. This lesson finds where numbers end, then predicts how fast gradients shrink or
# grow in real networks, and measures it.

# %%
import math

import numpy as np

import tinycnn as tc
from tinycnn import nn, plotting
from tinycnn.lesson import FAST, check, show

# %% [markdown]
# ## Where floating-point numbers end
#
# > At which $n$ does $0.5^n$ become exactly 0 in float16, in float32, in float64? At which $n$ do $2^n$ and $3^n$
# > become infinite? A float32 reaches from about $10^{-45}$ to $10^{38}$. Guess first.


# %%
def end(base, dtype):
    """Return the first n at which base to the power of n, multiplied step by step, is 0 or infinite."""
    value, n = dtype(1), 0
    with np.errstate(over="ignore", under="ignore"):
        while 0 < value < np.inf:
            value, n = dtype(value * dtype(base)), n + 1
    return n


types = (np.float16, np.float32, np.float64)
ends = {base: [end(base, dtype) for dtype in types] for base in (0.5, 2, 3)}
print("           float16  float32  float64")
for base, places in ends.items():
    print(f"{base:3} ** n is {'0' if base < 1 else 'inf'} at n =".ljust(22) + "".join(f"{n:6}" for n in places))

figure, axes = plotting.panels(8, 3.6)
for dtype, shade in ((np.float32, "0.92"), (np.float16, "0.78")):
    limits = np.finfo(dtype)
    low, high = math.log10(limits.smallest_subnormal), math.log10(limits.max)
    axes.axhspan(low, high, color=shade, zorder=0)
    axes.text(178, high - 0.8, limits.dtype.name, ha="right", va="top", fontsize=9)
n = np.arange(181)
for series, base in enumerate((3, 2, 0.5)):
    plotting.curve(axes, n, n * math.log10(base), f"{base} to the power of n", series)
axes.set(xlabel="n: layers that the gradient has passed", ylabel="size (power of ten)", ylim=(-60, 60))
axes.legend(loc="upper left")
show(figure, "The bands are what float16 and float32 can hold. Where a line leaves its band, the number is lost.")

# %% [markdown]
# ## Many factors at once: matrices
#
# A layer multiplies the gradient by a matrix. Take $d \times d$ matrices of random numbers with deviation $s /
# \sqrt{d}$. Each sum of $d$ terms then has about $s^2$ times the variance: one factor $s$ for each layer.
#
# > $s$ plays the part of 0.5, 2 and 3. How close will the length of a vector stay to $s^n$?

# %%
rng = np.random.default_rng(0)
width, depth = (256, 40) if FAST else (256, 100)
slopes = {}
for scale in (0.5, 1, 2, 3):
    vector, sizes = rng.normal(size=width), []
    for _ in range(depth):
        vector = rng.normal(scale=scale / math.sqrt(width), size=(width, width)) @ vector
        sizes.append(math.log10(np.linalg.norm(vector)))
    slopes[scale] = np.polyfit(np.arange(depth), sizes, 1)[0]
    print(f"s = {scale:3}: predicted log10(s) = {math.log10(scale):+.3f} a layer, measured {slopes[scale]:+.3f}")

# %% [markdown]
# ## Real networks
#
# Now put a nonlinearity $\varphi$ behind each matrix. Backward multiplies by $\varphi'(z)$ too. If $z$ is about
# normal with variance $q$, the gradient's size changes in each layer by the factor
#
# $$\chi = s \, \sqrt{\mathrm{E}[\varphi'(z)^2]}, \quad z \sim N(0, q)$$
#
# and forward $q$ itself becomes $s^2 \, \mathrm{E}[\varphi(z)^2]$ (Schoenholz et al. 2017). Xavier's start has $s =
# 1$ in a square layer, He's has $s = \sqrt{2}$. For ReLU, $\mathrm{E}[\varphi'^2] = 1/2$: half of all units pass
# nothing. For sigmoid, $\varphi' \leq 1/4$.
#
# > Six networks: sigmoid, tanh, ReLU, each with Xavier and He. In which does the first layer still get a gradient?
# > For ReLU and Xavier, predict the slope with pen and paper: $\log_{10} \sqrt{1/2}$ is about what?


# %%
def predicted(activation, scale, layers):
    """Return the gradient's size at each layer, last one first, in powers of ten: from s and the nonlinearity alone."""
    z, weight = np.polynomial.hermite_e.hermegauss(200)  # even: no point on the kink of ReLU
    weight = weight / weight.sum()
    factors, q = [], scale**2
    for _ in range(layers - 1):
        inputs = tc.Tensor(math.sqrt(q) * z, requires_grad=True)
        outputs = activation()(inputs)
        outputs.sum().backward()
        factors.append(math.log10(scale * math.sqrt(weight @ inputs.grad**2)))
        q = scale**2 * (weight @ outputs.data**2)
    return np.cumsum([0, *factors[::-1]])


def measured(activation, scale, layers, width, images=32):
    """Return the same from a network: the gradient of a random direction of its last layer for each layer's output."""
    start = [nn.Linear(width, width, bias=False) for _ in range(layers)]
    for layer in start:
        nn.init.normal_(layer.weight, 0, scale / math.sqrt(width))
    net = nn.Sequential(*(module for layer in start for module in (layer, activation())))[:-1].to(np.float64)
    sizes = []
    for layer in start:
        layer.register_full_backward_hook(lambda _, grad: sizes.append(np.sqrt((grad**2).mean())))
    image, direction = np.random.default_rng(1).normal(size=(2, images, width))
    (net(tc.Tensor(image)) * direction).sum().backward()
    return np.log10(sizes) - np.log10(sizes[0])


tc.manual_seed(0)
width, layers = (256, 16) if FAST else (256, 40)
figure, grid = plotting.panels(10, 3.6, 2)
worst, slope = 0.0, {}
for axes, (start, scale) in zip(grid, {"Xavier": 1.0, "He": math.sqrt(2)}.items()):
    for series, activation in enumerate((nn.ReLU, nn.Tanh, nn.Sigmoid)):
        expected, found = predicted(activation, scale, layers), measured(activation, scale, layers, width)
        name, a, b = activation.__name__, *(sizes[-1] / (layers - 1) for sizes in (expected, found))
        worst, slope[start, name] = max(worst, abs(a - b)), b
        print(f"{name:8} {start:7} slope predicted {a:+.3f}, measured {b:+.3f} powers of ten a layer")
        plotting.curve(axes, np.arange(layers), found, name, series)
        axes.plot(np.arange(layers), expected, color="black", linewidth=0.8)
    axes.set(title=f"{start} start", xlabel="layers back from the output", ylabel="gradient (power of ten)")
    axes.legend()
show(figure, "Size of the gradient on its way back. Marked: measured. Thin black: predicted without any network.")

# %% [markdown]
# ## A sentence to set right
#
# The tutorial that these lessons grew from says that *large positive weights make gradients vanish*. Its own example
# refutes it: with weights 2 and 3, three layers give $2^3$ and $3^3$. That is growth. Small weights make gradients
# vanish; large ones make them explode.
#
# > There is a case in which the sentence is true. Which? Think of a single unit in each layer, and of the flat ends
# > of tanh.

# %%
weights, chain = np.geomspace(0.1, 10, 61), 10
figure, axes = plotting.panels(8, 3.6)
gradient = {}
for series, unit in enumerate((nn.ReLU, nn.Tanh, nn.Sigmoid)):
    first = value = tc.Tensor(np.full(weights.shape, 0.5), requires_grad=True)
    for _ in range(chain):
        value = unit()(value * weights)
    value.sum().backward()
    gradient[unit.__name__] = first.grad
    plotting.curve(axes, weights, np.log10(np.maximum(first.grad, 1e-300)), unit.__name__, series)
axes.set(xscale="log", xlabel="weight of every layer", ylim=(-16, 11))
axes.set_ylabel(f"gradient after {chain} layers (power of ten)")
axes.legend(loc="upper left")
show(figure, "Without saturation the gradient grows with the weight. Tanh and sigmoid lose it at both ends.")
print("three layers of ReLU: weight 2 gives", 2**3, "and weight 3 gives", 3**3, "- ten layers: see the figure")

# %%
powers, found = [math.log10(s) for s in slopes], [*slopes.values()]
check("0.5 to the power of n is 0 at n = 25, 150 and 1075 (float16, 32, 64)", ends[0.5] == [25, 150, 1075])
check("2 to the power of n is infinite at n = 16, 128 and 1024", ends[2] == [16, 128, 1024])
check("3 to the power of n is infinite at n = 11, 81 and 647", ends[3] == [11, 81, 647])
check("random matrices multiply length by s, within 0.02 powers of ten", np.allclose(found, powers, atol=0.02))
check("all six slopes of networks are predicted within 0.02 powers of ten", worst < 0.02)
check("He's start keeps the gradient of a ReLU network", abs(slope["He", "ReLU"]) < 0.02)
check("Xavier's loses half of its square in each layer", abs(slope["Xavier", "ReLU"] - math.log10(0.5) / 2) < 0.02)
check("without saturation, larger weights give larger gradients", (np.diff(gradient["ReLU"]) > 0).all())
check("in a chain of tanh, small and large weights both lose it", max(gradient["Tanh"][[0, -1]]) < 1e-9)

# %% [markdown]
# So it is not the large weight that kills the gradient: it is the unit that the weight has driven into its flat end.
# ReLU has no flat end above 0, and there large weights explode.
#
# `tinycnn experiment vanishing_gradients` does this with 3x3 convolutions, before and after some training. Without
# shortcuts or normalisation the slopes are nearly those above, and training hardly moves them. Batch norm lets ReLU's
# gradient grow on its way back, and sigmoid's shrink slowly. Shortcuts keep it, but ReLU then needs normalisation.
#
# ## Exercises
#
# 1. Training in float16 multiplies the loss by 1024 or more before backward, and divides afterwards. Which of the
#    three limits does that move the gradient away from, and by how many layers of 0.5?
# 2. Give tanh a start with $s = 3$ in `measured` and in `predicted`. Large weights, saturating units: does the
#    gradient vanish? Explain the difference from the chain of single units.
# 3. Replace `x` by `x + f(x)` in a chain of 0.5: the factor becomes $1 + 0.5$. Is that good news? (Lesson 10.)
