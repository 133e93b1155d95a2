# %% [markdown] seconds=50
# # 14 · Fire modules: small is not fast
#
# SqueezeNet (Iandola et al. 2016) reaches AlexNet's accuracy with a fiftieth of its parameters. Its block, the Fire
# module, first squeezes the input to a few channels with 1x1 kernels, so that the 3x3 kernels that follow have few
# channels to read. Half of its outputs come from 1x1 kernels.

# %%
import time

import numpy as np

import tinycnn as tc
from tinycnn import functional as F
from tinycnn import nn, plotting
from tinycnn.lesson import FAST, check, fit, glyphs, show


class Fire(nn.Module):
    def __init__(self, inputs, squeeze, ones, threes, norm, bypass):
        super().__init__()
        self.squeeze, self.bypass = nn.Sequential(nn.Conv2d(inputs, squeeze, 1), norm(squeeze)), bypass
        self.expand1, self.expand3 = nn.Conv2d(squeeze, ones, 1), nn.Conv2d(squeeze, threes, 3, padding=1)
        self.norm = norm(ones + threes)

    def forward(self, x):
        squeezed = F.relu(self.squeeze(x))
        out = F.relu(self.norm(tc.concatenate([self.expand1(squeezed), self.expand3(squeezed)], dim=1)))
        return out if self.bypass is None else out + self.bypass(x)


def squeezenet(ratio=0.125, share=0.5, pools=(5, 9), bypass="none", small=False):
    """Return a net that squeezes to `ratio` of the outputs, `share` of them 3x3; small: Fire 2 to 5 with batch norm."""
    inputs = 12 if small else 96
    stem = nn.Conv2d(1, 12, 3, padding=1) if small else nn.Conv2d(3, 96, 7, 2, padding=2)
    norm = nn.BatchNorm2d if small else lambda channels: nn.Identity()
    layers = [stem, norm(inputs), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)]
    for number in range(2, 6 if small else 10):
        outputs = (32 if small else 128) * (number // 2)
        threes = round(share * outputs)
        way = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        way = way if bypass == "complex" or (bypass == "simple" and inputs == outputs) else None
        layers += [nn.MaxPool2d(3, 2, ceil_mode=True)] if number in pools else []
        layers.append(Fire(inputs, round(ratio * outputs), outputs - threes, threes, norm, way))
        inputs = outputs
    return nn.Sequential(*layers, nn.Conv2d(inputs, 10 if small else 1000, 1), nn.GlobalAvgPool2d())


# %% [markdown]
# ## Table 1, layer by layer
#
# > Fire 2 turns 96 channels into 128, by way of 16. How many parameters has it? And one 3x3 convolution from 96 to 128?
# > Where in the net is most of the work: where the maps are large, or where the channels are many?

# %%
rows = [row for row in tc.summary(squeezenet()).rows if row.kind == "Conv2d"]
layers = {"conv1": rows[:1], **{f"fire{i + 2}": rows[1 + 3 * i : 4 + 3 * i] for i in range(8)}, "conv10": rows[25:]}
parameters = {name: sum(row.parameters for row in part) for name, part in layers.items()}
work = {name: sum(row.multiply_adds for row in part) for name, part in layers.items()}
print("layer   map     squeeze  1x1  3x3  parameters  multiply-adds")
for name, part in layers.items():
    channels = [f"{row.output_shape[0]:5}" for row in part] if len(part) == 3 else [" " * 5] * 3
    side = part[-1].output_shape[1]
    print(f"{name:7} {side:3}x{side:<3} {' '.join(channels)} {parameters[name]:12,} {work[name]:14,}")
total, adds = sum(parameters.values()), sum(work.values())
fewer, more = 60965224 / total, adds / 724406816  # AlexNet's: lesson 06
print(f"in all {total:,}, {fewer:.1f} times fewer than AlexNet, and {adds:,}, {more:.2f} times as many")

figure, grid = plotting.panels(9, 3.4, 2)
labels = "parameters (thousands)", "multiply-adds (millions)"
for axes, values, unit, label, series in zip(grid, (parameters, work), (1e3, 1e6), labels, (0, 1)):
    plotting.bars(axes, list(layers), [n / unit for n in values.values()], "{:.0f}", series)
    axes.set_xlabel(label)
show(figure, "Parameters are in the late layers, with many channels; work is spread, with conv1 first.")

# %% [markdown]
# ## The dials
#
# The paper turns two dials: the squeeze ratio (squeezed channels as a share of the outputs), and the share of 3x3 among
# the outputs. It finds that a ratio of 0.75 lifts top-5 accuracy from 80.3 % to 86.0 %, at 19 MB in place of 4.8, and
# that more than half of 3x3 brings nothing (at ratio 0.5). A third dial is the place of the pools.
#
# > What do these dials do to size and work? Which of them changes the work but not a single parameter?

# %%
dials = {"ratio": (0.125, 0.25, 0.5, 0.75, 1.0), "share": (0.1, 0.25, 0.5, 0.75, 0.9)}
figure, grid = plotting.panels(9, 3.2, 2)
exact = {}
for axes, (dial, values), label in zip(grid, dials.items(), ("squeeze ratio", "share of 3x3")):
    for value in values:
        table = tc.summary(squeezenet(**{"ratio": 0.5, dial: value}))
        exact[dial, value] = (4 * table.parameters / 1e6, table.multiply_adds / 1e8)
        print(f"{label} {value:5}: {table.parameters:10,} parameters, {table.multiply_adds:14,} multiply-adds")
    for series, name in enumerate(("size (MB)", "multiply-adds (hundred millions)")):
        plotting.curve(axes, values, [exact[dial, value][series] for value in values], name, series)
    axes.set(xlabel=label, ylim=(0, None))
grid[0].legend()
show(figure, "What the dials cost. Left: half of the outputs are 3x3. Right: the squeeze ratio is 0.5.")
late, early = (tc.summary(squeezenet(pools=pools)) for pools in ((5, 9), (3, 5)))
ways = {kind: tc.summary(squeezenet(bypass=kind)).parameters for kind in ("none", "simple", "complex")}
print(f"pools before Fire 3 and 5: {early.parameters:,} parameters, {early.multiply_adds:,} multiply-adds")
print("bypass:", ", ".join(f"{kind} {n:,} parameters ({4 * n / 1e6:.1f} MB)" for kind, n in ways.items()))

# %% [markdown]
# The paper says 7.7 MB for the complex bypass, a 1x1 convolution around each module where the channels change. Count it
# yourself: figure 2 of the paper, drawn as it is, makes less.
#
# ## And accuracy?
#
# > Here are the same dials on a net of four narrow Fire modules with batch norm (base: ratio 0.25, half 3x3, late
# > pool). Order the variants. Which differences will be larger than the difference between two seeds?

# %%
accuracy, (seeds, count, epochs) = {}, ((0,), 320, 1) if FAST else ((0, 1), 1000, 5)
train, test = glyphs(count, 300 if FAST else 1000)
variants = {"base": {}, "ratio 0.125": {"ratio": 0.125}, "ratio 0.75": {"ratio": 0.75}, "early pool": {"pools": (3,)}}
variants |= {"one in eight 3x3": {"share": 0.125}, "seven in eight 3x3": {"share": 0.875}}
variants |= {f"{kind} bypass": {"bypass": kind} for kind in ("simple", "complex")}
for name, change in variants.items():
    for seed in seeds:
        tc.manual_seed(seed)
        net = squeezenet(**{"ratio": 0.25, **change}, small=True)
        done = fit(net, train, test, epochs, 0.05, 32, seed=seed, title=f"{name}, seed {seed}")
        accuracy.setdefault(name, []).append(100 * done.history[-1]["test_accuracy"])
    table, runs = tc.summary(net, (1, 16, 16)), "".join(f"{run:7.1f} %" for run in accuracy[name])
    print(f"{name:18} {table.parameters:6,} parameters {table.multiply_adds:9,} multiply-adds{runs}")

figure, axes = plotting.panels(8, 3.2)
for height, runs in enumerate(accuracy.values()):
    axes.plot(runs, [height] * len(runs), "o", color=plotting.BLUE)
    axes.plot(np.mean(runs), height, "|", color="black", markersize=20)
axes.set(yticks=range(len(accuracy)), yticklabels=accuracy, xlabel="test accuracy (%)")
axes.invert_yaxis()
show(figure, "Each mark is a run, the bar is their mean. Two seeds: small gaps mean nothing.")

# %% [markdown]
# ## One image, in real time
#
# > Four nets, one image. Put them in order of time. SqueezeNet has a fiftieth of AlexNet's parameters and more
# > multiply-adds: which of the two will decide?

# %%
points, images = {}, np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
print("net             parameters   multiply-adds      outputs  one image")
for name in ("alexnet_2012", "vgg16", "resnet50", "squeezenet1_0"):
    net = tc.models.build(name, width=0.125 if FAST else 1.0).eval()
    table, times = tc.summary(net), []
    with tc.no_grad():
        for _ in range(2 if FAST else 5):
            start = time.perf_counter()
            net(tc.Tensor(images))
            times.append(1000 * (time.perf_counter() - start))
    size, kept = 4 * table.parameters / 1e6, table.memory / 1e6
    points[name] = (size, table.multiply_adds / 1e9, min(times))
    print(f"{name:14} {size:8.1f} MB {table.multiply_adds:15,} {kept:7.1f} MB {min(times):7.1f} ms")

figure, grid = plotting.panels(9, 3.2, 2)
for axes, place, label in zip(grid, (0, 1), ("parameters (MB)", "multiply-adds (billions)")):
    for (name, point), (colour, _, marker) in zip(points.items(), plotting.SERIES):
        axes.semilogx(point[place], point[2], marker, color=colour, markersize=8)
        axes.annotate(name, (point[place], point[2]), (0, 8), textcoords="offset points", ha="center", fontsize=8)
    axes.margins(0.25)
    axes.set(xlabel=label, ylabel="one image (ms)", ylim=(0, None))
show(figure, "Time for one image on this machine, against size and against work. Which one predicts it?")

# %%
table_1 = [14208, 11920, 12432, 45344, 49440, 104880, 111024, 188992, 197184, 513000]
check("SqueezeNet's table 1: every layer, and 1,248,424 in all", [*parameters.values(), total] == [*table_1, 1248424])
check("maps of 111, 55, 27 and 13 pixels, as the table says", {r.output_shape[1] for r in rows} == {111, 55, 27, 13})
check("48.8 times fewer parameters than AlexNet, but more multiply-adds", round(fewer, 1) == 48.8 and more > 1)
check("ratio 0.75 makes the paper's 19 MB", int(exact["ratio", 0.75][0]) == 19)
check("early pools cost no parameter", early.parameters == late.parameters)
check("they save work", early.multiply_adds < late.multiply_adds)
check("a simple bypass is free, a complex one costs 341,248", [*ways.values()] == [total, total, total + 341248])

# %% [markdown]
# A fiftieth of the size is not a fiftieth of the time. A fully connected layer uses each weight once for an image: at
# batch 1 AlexNet waits for its weights to come from memory. SqueezeNet does more arithmetic on fewer weights. (The
# `squeezenet1_0` timed here starts without padding, as torchvision's does: its maps are smaller than the paper's.)
# And the dials? `tinycnn experiment squeeze_ratio` turns both, with three seeds: on glyphs the error falls up to a
# ratio of 1 and up to 3x3 alone; nothing costs more than no 3x3 at all. ImageNet's plateau does not show here.
#
# ## Exercises
#
# 1. Give the latency cell 8 images in place of one, and divide the time by 8. Which net gains most, and why?
# 2. Double the input's side to 448 pixels. What happens to parameters, multiply-adds, outputs and time?
# 3. Run `squeezenet` from more seeds in two variants that you believe to differ. How many before you would bet on it?
