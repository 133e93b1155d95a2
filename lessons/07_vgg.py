# %% [markdown] seconds=55
# # 07 · VGG, and where parameters hide
#
# VGG is one idea, repeated: 3x3 convolutions, a pool when the map is to be halved, twice the channels after it. The
# paper (Simonyan and Zisserman 2015) gives six columns, A to E, from 11 to 19 layers with weights. Its table 2 says how
# many parameters each has, in millions. This lesson counts every one of them, and asks where they are.

# %%
import numpy as np

import tinycnn as tc
from tinycnn import nn, plotting
from tinycnn.lesson import FAST, check, fit, glyphs, show

CHANNELS = (64, 128, 256, 512, 512)
COLUMNS = {  # the kernels of each of the five stages
    "A": ([3], [3], [3] * 2, [3] * 2, [3] * 2),
    "B": ([3] * 2, [3] * 2, [3] * 2, [3] * 2, [3] * 2),
    "C": ([3] * 2, [3] * 2, [3, 3, 1], [3, 3, 1], [3, 3, 1]),
    "D": ([3] * 2, [3] * 2, [3] * 3, [3] * 3, [3] * 3),
    "E": ([3] * 2, [3] * 2, [3] * 4, [3] * 4, [3] * 4),
}
TABLE_2 = {"A": 133, "B": 133, "C": 134, "D": 138, "E": 144}  # millions, from the paper
HEAD = ((7 * 7 * 512, 4096), (4096, 4096), (4096, 1000))  # the three fully connected layers


def convolutions(column):
    """Return the part of a column before its fully connected layers."""
    layers, inputs = [], 3
    for outputs, kernels in zip(CHANNELS, COLUMNS[column]):
        for kernel in kernels:
            layers += [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.ReLU()]
            inputs = outputs
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


# %% [markdown]
# ## Predict
#
# > From A to E the net gets eight more convolutions. By how many per cent do its parameters grow? And its
# > multiply-adds? Column C has 1x1 kernels where D has 3x3: what is the difference between the two?
#
# A convolution has $k^2 N M + M$ parameters and uses each weight once for each output pixel. A fully connected layer
# has $N M + M$ and uses each weight once.

# %%
head = sum(n * m + m for n, m in HEAD)
once = sum(n * m for n, m in HEAD)
tables, total, adds = {}, {}, {}
print("column  layers  convolutions  fully connected        total  table 2    multiply-adds  outputs kept")
for column in COLUMNS:
    table = tables[column] = tc.summary(convolutions(column), (3, 224, 224))
    depth = 3 + sum(map(len, COLUMNS[column]))
    total[column], adds[column] = table.parameters + head, table.multiply_adds + once
    print(
        f"{column:6} {depth:7} {table.parameters:13,} {head:16,} {total[column]:12,} {TABLE_2[column]:6} M "
        f"{adds[column]:16,} {table.memory / 1e6:10.1f} MB"
    )
growth = [100 * (values["E"] / values["A"] - 1) for values in (total, adds)]
print(f"from A to E: parameters +{growth[0]:.0f} %, multiply-adds +{growth[1]:.0f} %")

# %% [markdown]
# Every column has the same three fully connected layers, and they outweigh all the convolutions together. Depth is
# cheap in parameters. It is not cheap in time.
#
# ## Where do they hide?
#
# > Take column D, which everybody calls VGG-16. Which single layer has the most parameters? Which the most
# > multiply-adds? Which the largest output?

# %%
rows = [row for row in tables["D"].rows if row.kind == "Conv2d"]
names = [f"conv{s}_{i}" for s, kernels in enumerate(COLUMNS["D"], 1) for i in range(1, len(kernels) + 1)]
names += ["fc6", "fc7", "fc8"]
budget = {
    "parameters (millions)": [row.parameters / 1e6 for row in rows] + [(n * m + m) / 1e6 for n, m in HEAD],
    "multiply-adds (billions)": [row.multiply_adds / 1e9 for row in rows] + [n * m / 1e9 for n, m in HEAD],
    "output (MB)": [row.memory / 1e6 for row in rows] + [4 * m / 1e6 for _, m in HEAD],
}
figure, grid = plotting.panels(10, 4.4, 3)
for axes, (quantity, values), series in zip(grid, budget.items(), range(3)):
    plotting.bars(axes, names, values, "{:.2f}", series)
    axes.set_xlabel(quantity)
for axes in grid[1:]:
    axes.set_yticklabels([])
show(figure, "VGG-16, layer by layer: parameters at the end, memory at the beginning, work spread between.")

largest = {q: [n for n, v in zip(names, values) if v == max(values)] for q, values in budget.items()}
share = 100 * head / total["D"]
memory = budget["output (MB)"]
first_two = 100 * sum(memory[:2]) / sum(memory)
for quantity, layers in largest.items():
    print(f"largest in {quantity}:", *layers)
print(f"fully connected: {share:.1f} % of the parameters, {100 * once / adds['D']:.1f} % of the multiply-adds")
print(f"the first two convolutions: {first_two:.0f} % of the outputs that training keeps")
averaged = tables["D"].parameters + 512 * 1000 + 1000
print(
    f"with global average pooling and one layer to the classes: {averaged:,} parameters, "
    f"{total['D'] / averaged:.1f} x fewer"
)

# %% [markdown]
# ## Is deeper better?
#
# In the paper it is, up to a point: the figure shows its top-1 errors on ImageNet (table 3, one scale, $S = 256$).
# The net with 19 layers was no better than the one with 16. And training was not straightforward. The authors write
# that a bad start can stall it; they trained A first, and began the deeper nets with its layers.
#
# > Here are narrow VGGs (an eighth of the channels) on small glyphs, each trained equally long from a random start,
# > with batch norm, which VGG did not have, and without. Which of the depths wins? Which nets do not learn at all?

# %%
depths, seeds, count, epochs = ((11, 19), (0,), 512, 3) if FAST else ((11, 13, 16, 19), (0, 1), 1200, 5)
train, test = glyphs(count, 600, size=20)
runs = {}
for norm in ("_bn", ""):
    for depth in depths if norm else (11, 19):
        for seed in seeds if norm else seeds[:1]:
            tc.manual_seed(seed)
            net = tc.models.build(
                f"vgg{depth}{norm}", num_classes=10, in_channels=1, width=1 / 8, small_input=True, dropout=0
            )
            done = fit(net, train, test, epochs, 0.03, 32, seed=seed, title=f"vgg{depth}{norm}, seed {seed}").history[
                -1
            ]
            runs.setdefault((depth, norm), []).append(100 * done["test_accuracy"])
        print(
            f"VGG-{depth} {'with' if norm else 'without'} batch norm:", *(f"{run:5.1f} %" for run in runs[depth, norm])
        )

figure, (left, right) = plotting.panels(9, 3.4, 2)
plotting.curve(left, (11, 13, 16, 19), (29.6, 28.7, 27.0, 27.3), "ImageNet, from the paper")
left.set_ylabel("top-1 error (%)")
for series, (norm, label) in enumerate((("_bn", "with batch norm"), ("", "without batch norm")), 1):
    places = [depth for depth in (11, 13, 16, 19) if (depth, norm) in runs]
    plotting.errors(right, places, [[100 - run for run in runs[depth, norm]] for depth in places], label, series)
right.axhline(90, color="black", linewidth=1)
right.set(ylabel="test error (%)", ylim=(0, 100))
right.legend(loc="lower right")
for axes, title in ((left, "VGG A, B, D, E on ImageNet"), (right, "narrow VGGs on glyphs, this run")):
    axes.set(title=title, xlabel="layers with weights", xticks=(11, 13, 16, 19))
show(
    figure, "Depth paid on ImageNet. Here, with little data and time, 19 layers do worse (line: guessing; faint: runs)."
)

# %%
expected = {"A": 132863336, "B": 133047848, "C": 133638952, "D": 138357544, "E": 143667240}
check("five columns, to the last parameter: 132,863,336 for A, 143,667,240 for E", total == expected)
check("rounded to millions they are the paper's table 2", all(round(total[c] / 1e6) == TABLE_2[c] for c in COLUMNS))
check("D takes 15,470,264,320 multiply-adds, E 19,632,062,464", (adds["D"], adds["E"]) == (15470264320, 19632062464))
check("in D, 89.4 % of the parameters are fully connected", round(share, 1) == 89.4)
check("with global average pooling D has 15,227,688", averaged == 15227688)
check("fc6 has the most parameters", largest["parameters (millions)"] == ["fc6"])
check("the two layers of the first stage have the largest outputs", largest["output (MB)"] == ["conv1_1", "conv1_2"])
check("six layers share the first place in multiply-adds", len(largest["multiply-adds (billions)"]) == 6)
check("here, the 19 layers without batch norm still guess", abs(np.mean(runs[19, ""]) - 10) < 4)
check("with batch norm they learn", np.mean(runs[19, "_bn"]) > 14)
check("in these runs, at equal epochs, 11 layers beat 19", np.mean(runs[11, "_bn"]) > np.mean(runs[19, "_bn"]))

# %% [markdown]
# The paper had 1.3 million images and 74 epochs, and images large enough for five pools. Our toy has neither, so its
# deep nets are unfinished rather than bad. What stalls the nets without batch norm is the subject of lesson 08, and
# what was done about depth is that of lessons 09 and 10.
#
# ## Exercises
#
# 1. Do what the authors did: train VGG-11 without batch norm until it learns (more epochs), copy its first four
#    convolutions into VGG-19, and train that. Does it get off the ground?
# 2. At which image size would fc6 be about as large as fc7? What does that say about the 7x7 grid?
# 3. Column C has 16 layers with 1x1 kernels, B has 13 without them, D has 16 with 3x3. In the paper C errs in 28.1 %,
#    B in 28.7 %, D in 27.0 %. Build narrow versions with `convolutions` and see whether you can measure the order.
