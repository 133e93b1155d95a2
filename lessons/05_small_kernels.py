# %% [markdown] seconds=45
# # 05 · Small kernels beat big ones
#
# AlexNet began with an 11x11 kernel. VGG, two years later, used nothing but 3x3 kernels, one after another (Simonyan
# and Zisserman 2015, section 2.3). Two of them see as much of the image as one 5x5; three see as much as one 7x7.
# They need fewer weights, and they can say more, if there is something between them.

# %%
import numpy as np

import tinycnn as tc
from tinycnn import functional as F
from tinycnn import nn, plotting
from tinycnn.data import Glyphs
from tinycnn.lesson import FAST, check, fit, glyphs, show


def stack(kernel, layers, channels):
    """Return ``layers`` convolutions of one kernel size, without bias; the map keeps its height, width and channels."""
    return nn.Sequential(
        *(nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False) for _ in range(layers))
    )


# %% [markdown]
# ## Predict
#
# > A 5x5 layer from $N$ maps to $M$ maps has $25 NM$ weights. Two 3x3 layers have $2 \times 9 = 18$ in place of 25.
# > What are the numbers for 7x7 against three 3x3, and for 11x11 against five? Which way do multiply-adds go? And
# > memory?
#
# One thing to be careful with: $18 NM$ counts both layers with $N$ inputs and $M$ outputs. That is exact when $N =
# M$, as inside a stage of VGG. From $N$ to $M$ to $M$ it is $9NM + 9M^2$.

# %%
channels, side = 64, 56
share = {"weights": [], "multiply-adds": [], "memory of outputs": []}
pairs = [(5, 2), (7, 3), (11, 5)]
print("                      weights   in N=M units   multiply-adds   outputs kept   sees")
for kernel, layers in pairs:
    rows = []
    for k, n in ((kernel, 1), (3, layers)):
        table = tc.summary(stack(k, n, channels), (channels, side, side))
        rows.append((table.parameters, table.multiply_adds, table.memory, table.rows[-1].receptive_field))
        weights, adds, memory, field = rows[-1]
        print(
            f"{n} x {k:2d}x{k:<2d} {weights:18,} {weights // channels**2:14} {adds:15,} {memory / 1e6:11.2f} MB "
            f"{field:3}x{field}"
        )
    for values, big, small in zip(share.values(), *rows):
        values.append(100 * small / big)

figure, grid = plotting.panels(9, 2.9, 3)
for axes, (quantity, values), series in zip(grid, share.items(), range(3)):
    plotting.bars(axes, [f"{n} x 3x3" for _, n in pairs], values, "{:.0f} %", series)
    axes.axvline(100, color="black", linewidth=1)
    axes.set_title(quantity, fontsize=10)
    axes.set_xlabel("share of the one big kernel (%)")
show(figure, "A stack of 3x3 kernels against the one kernel that sees as much (the line at 100 %: 5x5, 7x7 and 11x11).")

# %% [markdown]
# Weights and multiply-adds fall together, because each weight is used once for each output pixel. Memory goes the
# other way: training must keep the output of every layer for the backward pass. VGG is famous for both.
#
# ## Is anything gained beyond thrift?
#
# > A convolution is a linear map. What is a linear map of a linear map? So what are two 3x3 layers with nothing
# > between them?
#
# Send a single bright pixel through the two layers. What comes out is their joint kernel, turned by 180 degrees. If
# they are one 5x5 convolution, that kernel alone must do the same to every image.

# %%
rng = np.random.default_rng(0)
first, second = rng.normal(size=(8, 1, 3, 3)), rng.normal(size=(1, 8, 3, 3))  # 1 map to 8 to 1, in float64


def two_layers(image, between=lambda maps: maps):
    return F.conv2d(between(F.conv2d(image, tc.Tensor(first))), tc.Tensor(second))


pixel = np.zeros((1, 1, 9, 9))
pixel[..., 4, 4] = 1
joint = two_layers(tc.Tensor(pixel)).data[..., ::-1, ::-1]

photo = Glyphs("test", size=64, count=9).images[8:] / 255
image = tc.Tensor(photo)
one, two = F.conv2d(image, tc.Tensor(joint)), two_layers(image)
bent = two_layers(image, F.relu)
collapse, gap = np.abs((two - one).data).max(), np.abs((bent - one).data).max()
print(f"the two layers and the one 5x5 differ by at most {collapse:.1e}; outputs reach {np.abs(one.data).max():.0f}")
print(f"with ReLU between the two, they differ by up to {gap:.0f}")

pictures = {"image": photo, "joint 5x5 kernel": joint, "one 5x5": one.data, "two 3x3": two.data}
pictures["two 3x3 with ReLU"] = bent.data
figure = plotting.new_figure(9, 2.1)
for axes, (name, array) in zip(figure.subplots(1, 5), pictures.items()):
    limit = np.abs(array).max()
    axes.imshow(array[0, 0], cmap="PuOr", vmin=-limit, vmax=limit)
    axes.set_title(name, fontsize=9)
    axes.set_axis_off()
show(figure, "The kernel that two layers make, and what it, they, and they with ReLU do to an image (0 is white).")

# %% [markdown]
# Without ReLU the stack *is* one 5x5 convolution, and a poorer one: 18 weights cannot make every 5x5 kernel. Depth
# without a nonlinearity buys nothing.
#
# ## Does it matter for learning?
#
# > Three nets, equal but for the block in the middle: one 7x7; three 3x3 with ReLU; three 3x3 without. Put them in
# > order of test accuracy. How sure are you?
#
# One training run is an anecdote. Each net is trained from several seeds, and every run is shown.

# %%
seeds, epochs, width, count = ((0,), 4, 8, 1500) if FAST else ((0, 1, 2), 4, 16, 2500)
train, test = glyphs(count, 1000)
blocks = {"one 7x7": (7, 1, nn.ReLU), "three 3x3": (3, 3, nn.ReLU), "three 3x3, no ReLU between": (3, 3, nn.Identity)}
accuracy = {name: [] for name in blocks}
for name, (kernel, layers, between) in blocks.items():
    for seed in seeds:
        tc.manual_seed(seed)
        parts = [nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
        for _ in range(layers):
            parts += [nn.Conv2d(width, width, kernel, padding=kernel // 2), nn.BatchNorm2d(width), between()]
        net = nn.Sequential(*parts[:-1], nn.ReLU(), nn.GlobalAvgPool2d(), nn.Linear(width, 10))
        trainer = fit(net, train, test, epochs, seed=seed, batch_size=32, title=f"{name}, seed {seed}")
        accuracy[name].append(100 * trainer.history[-1]["test_accuracy"])
    print(f"{name:26}  mean {np.mean(accuracy[name]):5.1f} %  runs", *(f"{run:5.1f}" for run in accuracy[name]))

figure, axes = plotting.panels(7, 2.6)
for height, runs in enumerate(accuracy.values()):
    colour, _, marker = plotting.SERIES[height]
    axes.plot(runs, [height] * len(runs), marker, color=colour, markersize=8, alpha=0.8)
    axes.plot(np.mean(runs), height, "|", color="black", markersize=22)
axes.set(yticks=range(3), yticklabels=accuracy, ylim=(2.6, -0.6), xlabel="test accuracy on fonts never seen (%)")
show(figure, "Each mark is one training run, the bar is their mean. All three nets see the same part of the image.")

# %%
exact = [100 * small / big for small, big in ((18, 25), (27, 49), (45, 121))]
check("weights: 18 for 25, 27 for 49, 45 for 121", np.allclose(share["weights"], exact))
check("multiply-adds fall exactly as weights do", np.allclose(share["multiply-adds"], exact))
check("memory for outputs grows with the number of layers", np.allclose(share["memory of outputs"], [200, 300, 500]))
check("without ReLU two 3x3 are one 5x5, to 1e-12", collapse < 1e-12)
check("with ReLU between they are not", gap > 1)
means = [np.mean(runs) for runs in accuracy.values()]
check("in these runs, three 3x3 with ReLU beat three without", means[1] > means[2])

# %% [markdown]
# This is a toy: small images, a few epochs, batch norm after each convolution so that all three nets train at all. How
# large the gaps are depends on the data, the epochs and the seeds. What cannot change is the algebra above.
#
# ## Exercises
#
# 1. Count again for $N = 64$ and $M = 256$. Does the stack still win? At which ratio of $M$ to $N$ do two 3x3 cost as
#    much as one 5x5?
# 2. Multiply-adds fall to 55 %. Measure the time of one 7x7 and of three 3x3 on a batch. Does time fall as much?
#    Where does the rest go?
# 3. A 5x5 kernel has 25 free numbers. How many of them can two 3x3 kernels with one map between them reach? And with
#    eight maps?
