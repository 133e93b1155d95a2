# %% [markdown] seconds=50
# # 05 · Small kernels beat big ones
#
# AlexNet began with an 11x11 kernel. VGG, two years later, used nothing but 3x3 kernels, one after another. Two of them
# see as much of the image as one 5x5; three see as much as one 7x7. They need fewer weights, and they can say
# more, if there is something between them.

# %%
import numpy as np

import tinycnn as tc
from tinycnn import functional as F
from tinycnn import nn, plotting
from tinycnn.lesson import FAST, check, fit, glyphs, show


def stack(kernel, layers, channels, relu=True):
    """So many convolutions of one kernel size, all on maps of the same height, width and channels."""
    one = [nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False), nn.ReLU() if relu else nn.Identity()]
    return nn.Sequential(*one, *(stack(kernel, layers - 1, channels, relu) if layers > 1 else []))


# %% [markdown]
# ## Predict
#
# > A 5x5 layer from $N$ maps to $M$ maps has $25 NM$ weights. Two 3x3 layers have $2 \times 9 = 18$ in place of 25.
# > What are the numbers for 7x7 against three 3x3, and for 11x11 against five? Which way do multiply-adds go? And memory?
#
# One thing to be careful with: $18 NM$ counts both layers with $N$ inputs and $M$ outputs. That is exact when $N = M$, as
# inside a stage of VGG. From $N$ to $M$ to $M$ it is $9NM + 9M^2$.

# %%
channels, side = 64, 56
share = {"weights": [], "multiply-adds": [], "memory of outputs": []}
pairs = [(5, 2), (7, 3), (11, 5)]
print("                      weights   in N=M units   multiply-adds   outputs kept   sees")
for kernel, layers in pairs:
    rows = []
    for k, n in ((kernel, 1), (3, layers)):
        table = tc.summary(stack(k, n, channels), (channels, side, side))
        memory = sum(row.memory for row in table.rows if row.kind == "Conv2d")
        rows.append((table.parameters, table.multiply_adds, memory, table.rows[-1].receptive_field))
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
# Weights and multiply-adds fall together, because each weight is used once for each output pixel. Memory goes the other
# way: training must keep the output of every layer for the backward pass. VGG is famous for both.
#
# ## Is anything gained beyond thrift?
#
# > A convolution is a linear map. What is a linear map of a linear map? So what are two 3x3 layers with nothing
# > between them?
#
# Send a single bright pixel through the two layers. What comes out is their joint kernel, turned by 180 degrees. If they
# are one 5x5 convolution, that kernel alone must do the same to every image.

# %%
rng = np.random.default_rng(0)
first, second = rng.normal(size=(4, 3, 3, 3)), rng.normal(size=(2, 4, 3, 3))  # 3 maps to 4 to 2, in float64


def two_layers(image, between=lambda maps: maps):
    return F.conv2d(between(F.conv2d(image, tc.Tensor(first))), tc.Tensor(second))


pixel = np.zeros((3, 3, 9, 9))
pixel[range(3), range(3), 4, 4] = 1  # one image for each input channel
joint = two_layers(tc.Tensor(pixel)).data.transpose(1, 0, 2, 3)[..., ::-1, ::-1]

image = tc.Tensor(rng.normal(size=(1, 3, 32, 32)))
outputs = {
    "two 3x3": two_layers(image),
    "one 5x5": F.conv2d(image, tc.Tensor(joint)),
    "two 3x3 with ReLU": two_layers(image, F.relu),
}
collapse = np.abs((outputs["two 3x3"] - outputs["one 5x5"]).data).max()
bent = np.abs((outputs["two 3x3 with ReLU"] - outputs["one 5x5"]).data).max()
print(f"outputs are as large as {np.abs(outputs['one 5x5'].data).max():.0f}")
print(f"two 3x3 and the one 5x5 differ by at most {collapse:.1e}; with ReLU between, by up to {bent:.0f}")

figure = plotting.new_figure(9, 2.8)
limit = np.abs(joint).max()
shown = {"a first 3x3": first[0, 0], "a second 3x3": second[0, 0], "their joint 5x5": joint[0, 0]}
shown |= {name.replace(" with", "\nwith"): maps.data[0, 0] for name, maps in outputs.items()}
for axes, (name, array) in zip(figure.subplots(1, 6), shown.items()):
    bound = limit if array.shape[0] < 9 else np.abs(outputs["one 5x5"].data).max()
    axes.imshow(array, cmap="PuOr", vmin=-bound, vmax=bound)
    axes.set_title(name, fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
show(figure, "Two kernels, the one kernel that they make together, and what all do to the same image (one map of each).")

# %% [markdown]
# Without ReLU the stack *is* one 5x5 convolution, and a poorer one: 18 weights cannot make every 5x5 kernel. Depth without
# a nonlinearity buys nothing.
#
# ## Does it matter for learning?
#
# > Three nets, equal but for the block in the middle: one 7x7; three 3x3 with ReLU; three 3x3 without. Put them in
# > order of test accuracy. How sure are you?
#
# One training run is an anecdote. Each net is trained from several seeds, and every run is shown.

# %%
seeds, epochs, width, count = ((0,), 2, 8, 1000) if FAST else ((0, 1, 2), 5, 16, 3000)
train, test = glyphs(count, 1000)
accuracy = {}
for name, block in (("one 7x7", (7, 1)), ("three 3x3", (3, 3)), ("three 3x3,\nno ReLU between", (3, 3, False))):
    kernel, layers, relu = (*block, True)[:3]
    for seed in seeds:
        tc.manual_seed(seed)
        stem = [nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        body = [*stack(kernel, layers, width, relu), nn.ReLU(), nn.GlobalAvgPool2d(), nn.Linear(width, 10)]
        trainer = fit(nn.Sequential(*stem, *body), train, test, epochs, lr=0.1, seed=seed, title=name.split(",")[0])
        accuracy.setdefault(name, []).append(100 * trainer.history[-1]["test_accuracy"])
    runs = accuracy[name]
    print(f"{name.replace(chr(10), ' '):27} test accuracy {np.mean(runs):5.1f} %  (runs: {', '.join(f'{r:.1f}' for r in runs)})")

figure, axes = plotting.panels(7, 2.6)
for height, (name, runs) in enumerate(accuracy.items()):
    colour, _, marker = plotting.SERIES[height]
    axes.plot(runs, [height] * len(runs), marker, color=colour, markersize=8, alpha=0.8)
    axes.plot(np.mean(runs), height, "|", color="black", markersize=22)
axes.set_yticks(range(3), accuracy)
axes.set_ylim(2.6, -0.6)
axes.set_xlabel("test accuracy on fonts never seen (%)")
show(figure, "Each mark is one training run, the bar is their mean. All three nets see the same part of the image.")

# %%
check("two 3x3 have 18 weights where one 5x5 has 25", round(share["weights"][0], 6) == 100 * 18 / 25)
check("three 3x3 have 27 where one 7x7 has 49, five have 45 where one 11x11 has 121",
      np.allclose(share["weights"][1:], [100 * 27 / 49, 100 * 45 / 121]))
check("multiply-adds fall exactly as weights do", np.allclose(share["multiply-adds"], share["weights"]))
check("memory for outputs grows with the number of layers", np.allclose(share["memory of outputs"], [200, 300, 500]))
check("without ReLU two 3x3 are one 5x5, to 1e-12", collapse < 1e-12)
check("with ReLU they are not", bent > 1)
