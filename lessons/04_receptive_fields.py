# %% [markdown] seconds=20
# # 04 · Receptive fields
#
# An output deep in a network sees only a part of the image: its receptive field. How large that part is follows from
# the layers. How much of it the output really uses is another question, and the gradient answers it.

# %%
import math
from itertools import zip_longest

import numpy as np
from matplotlib.patches import Circle, Rectangle

import tinycnn as tc
from tinycnn import models, nn, plotting
from tinycnn.data import ArrayDataset
from tinycnn.lesson import FAST, check, fit, show

rng = np.random.default_rng(0)
tc.manual_seed(0)

# %% [markdown]
# ## What an output can see
#
# Let an output see $r$ pixels, and let neighbouring outputs be $j$ pixels apart. A window of $k$ places, convolution or
# pooling, joins $k$ of them, and a stride of $s$ keeps every $s$-th: $r$ becomes $r + (k - 1) \, j$, and $j$ becomes
# $j \, s$.
#
# > AlexNet has windows of 11 (stride 4), 3 (2), 5, 3 (2), 3, 3, 3 and 3 (2) pixels. Start with $r = j = 1$: how much of
# > an image of 224x224 does its last pool see? VGG-16 has nothing but 3x3 and 2x2: does it see more or less? And
# > ResNet-56, which was made for images of 32x32?

# %%
three, half, pool = (3, 1, 1.0), (3, 1, 0.5), (3, 2, 1.0)  # kernel, stride, share: see below
nets = {
    "AlexNet": [(11, 4, 1.0), pool, (5, 1, 1.0), pool, three, three, three, pool],
    "VGG-16": 2 * [*2 * [three], (2, 2, 1.0)] + 3 * [*3 * [three], (2, 2, 1.0)],
    "SqueezeNet": [(7, 2, 1.0), pool, *3 * [half], pool, *4 * [half], pool, half],
    "ResNet-20": [three, *6 * [half], (3, 2, 0.5), *5 * [half], (3, 2, 0.5), *5 * [half]],
    "ResNet-56": [three, *18 * [half], (3, 2, 0.5), *17 * [half], (3, 2, 0.5), *17 * [half]],
}


def fields(windows):
    """Return, after each window, how many pixels are seen and how far the gradient spreads (standard deviation)."""
    size, variance, jump, found = 1, 0.0, 1, []
    for kernel, stride, share in windows:
        size, variance = size + (kernel - 1) * jump, variance + share * (kernel**2 - 1) / 12 * jump**2
        jump *= stride
        found.append((size, math.sqrt(variance)))
    return found


can_see, shown = {name: [size for size, _ in fields(windows)] for name, windows in nets.items()}, list(nets)[:4]
columns = [[f"{k:5}/{s} {size:5}" for (k, s, _), size in zip(nets[name], can_see[name])] for name in shown]
print("layer", *(f"{name:>13}" for name in shown))
for layer, cells in enumerate(zip_longest(*columns, fillvalue=""), 1):
    print(f"{layer:5}", *(f"{cell:>13}" for cell in cells))

built = {"AlexNet": models.alexnet_2012, "VGG-16": models.vgg16, "SqueezeNet": models.squeezenet1_0}
built |= {"ResNet-20": models.resnet20, "ResNet-56": models.resnet56}
summed = {}
for name, net in built.items():
    rows = tc.summary(net(width=0.125), (3, 64, 64)).rows
    summed[name] = max(row.receptive_field for row in rows if row.kind in ("Conv2d", "MaxPool2d"))
    print(f"{name:10} sees {can_see[name][-1]} pixels; by tc.summary {summed[name]}")

# %% [markdown]
# ## What it does see
#
# Ask one output for its gradient with respect to every pixel. Where the gradient is 0, the output is blind.
#
# On its way back the gradient spreads over the $k$ places of each window. Random weights have no favourite, so each
# window adds the variance of $k$ equal places, $(k^2 - 1) / 12$, times $j^2$; and a sum of many spreads is nearly
# normal. Where a 1x1 kernel or a shortcut runs beside a 3x3, about half of it goes straight: hence the share of 1/2
# above. So `fields` predicts how far a field reaches, and also its shape (Luo et al. 2016).
#
# > Within two standard deviations on each side lies nearly everything. Which part of AlexNet's 195 pixels is that? In a
# > net with more layers, is the part larger or smaller?


# %%
def gradient(features, images):
    """Return the squared gradient of the middle unit of the last maps, for each pixel; mean over images and colours."""
    x = tc.Tensor(images, requires_grad=True)
    with tc.convolution_algorithm("im2col"):  # Winograd's tiles leave rounding errors outside the field
        maps = features.eval()(x)
        unit, middle = np.zeros(maps.shape, np.float32), maps.shape[2] // 2
        unit[:, :, middle, middle] = rng.normal(size=maps.shape[:2])
        maps.backward(unit)
    return (x.grad.astype(float) ** 2).mean(axis=(0, 1))


def spread(heat):
    """Return centre and standard deviation along each axis."""
    places, moments = np.arange(len(heat)), []
    for profile in (heat.sum(axis=0), heat.sum(axis=1)):
        centre = np.average(places, weights=profile)
        moments.append((centre, math.sqrt(np.average((places - centre) ** 2, weights=profile))))
    return moments


figure, reach, gap, part = plotting.new_figure(10, 4.6), {}, {}, {}
for (above, below), name in zip(figure.subplots(2, 4, height_ratios=(1, 0.55)).T, shown):
    net = built[name](width=0.25 if FAST and name == "VGG-16" else 0.5)
    side, count = (96, 8) if "Res" in name else (256, 2 if FAST else 6)
    features = nn.Sequential(net.conv1, net.bn1, net.layer1, net.layer2, net.layer3) if "Res" in name else net.features
    images = rng.normal(size=(count, 3, side, side)).astype(np.float32)
    for module in features.modules():
        module.momentum = 1.0
    features(tc.Tensor(images))  # batch norm notes its statistics
    heat = gradient(features, images)
    rows, columns = np.nonzero(heat)
    reach[name] = int(np.ptp(rows)) + 1
    (x, across), (y, down) = spread(heat)
    predicted, measured = fields(nets[name])[-1][1], (across + down) / 2
    gap[name], part[name] = abs(measured / predicted - 1), 4 * measured / reach[name]
    print(f"{name:10} reaches {reach[name]} pixels; deviation predicted {predicted:4.1f}, measured {measured:4.1f}")
    above.imshow(np.sqrt(heat), cmap="Greys", vmax=np.sqrt(np.quantile(heat, 0.999)))
    above.add_patch(Rectangle((columns.min(), rows.min()), reach[name], reach[name], fill=False, color=plotting.BLUE))
    above.add_patch(Circle((x, y), 2 * measured, fill=False, color=plotting.RED, linestyle="--", linewidth=1.5))
    above.set_title(f"{name}: {4 * measured:.0f} of {reach[name]} pixels", fontsize=10)
    above.set(xticks=[], yticks=[])
    places = np.arange(side)
    normal = np.exp(-(((places - x) / predicted) ** 2) / 2) / predicted / math.sqrt(2 * math.pi)
    below.plot(places, heat.sum(axis=0) / heat.sum(), color="0.6")
    below.plot(places, normal, color=plotting.RED)
    below.set(xlim=(0, side), xlabel="column of pixels", yticks=[])
show(figure, "Above: gradient, field (square), two deviations (circle). Below: its square, and as predicted (smooth).")

# %% [markdown]
# ## Learning moves it
#
# Layers add up to the field; the deviation is only the root of a sum. So the more layers, the smaller the part that is
# used, at the start. Now train: eight layers of 3x3 without padding shrink an image of 17x17 to a single unit. In the
# image is noise and one bright patch, and the unit must say in which of four places the patch is.
#
# > Let the places be two pixels from the middle in both directions, then five, where the gradient is weak at the start.
# > Can the net learn the second? What will the gradients look like?


# %%
def scenes(count, far, seed):
    """Return noise with a bright patch in one of four places, which is the class."""
    rng = np.random.default_rng(seed)
    images, labels = rng.normal(0, 0.5, (count, 1, 17, 17)), rng.integers(4, size=count)
    for image, label in zip(images[:, 0], labels):
        y, x = 7 + far * (2 * (label // 2) - 1), 7 + far * (2 * (label % 2) - 1)
        image[y : y + 3, x : x + 3] += 2
    return ArrayDataset(images.astype(np.float32), labels, "0123")


heats, accuracy, width = {}, [], []
for far in (2, 5):
    tc.manual_seed(0)
    layers = [(nn.Conv2d(16 if i else 1, 16, 3), nn.BatchNorm2d(16), nn.ReLU()) for i in range(8)]
    features, test = nn.Sequential(*(module for layer in layers for module in layer)), scenes(300, far, 1)
    heats["before training"] = gradient(features, test.images)
    net, train = nn.Sequential(features, nn.Flatten(), nn.Linear(16, 4)), scenes(600 if FAST else 1000, far, 0)
    trainer = fit(net, train, test, 3, batch_size=32, title=f"distance {far}")
    accuracy.append(100 * trainer.history[-1]["test_accuracy"])
    heats[f"patches {far} pixels away"] = gradient(features, test.images)
    print(f"patches {far} pixels away: {accuracy[-1]:.1f} % right")

figure = plotting.new_figure(8, 3.1)
for axes, (name, heat) in zip(figure.subplots(1, 3), heats.items()):
    width.append(np.mean([deviation for _, deviation in spread(heat)]))
    axes.imshow(np.sqrt(heat), cmap="Greys")
    axes.set_title(f"{name}:\ndeviation {width[-1]:.1f} pixels", fontsize=10)
    axes.set(xticks=[], yticks=[])
show(figure, "Gradient of the unit for each of 17x17 pixels. Training sends it where the evidence is.")

# %%
exact = [195, 212, 155, 81, 249]
check("AlexNet sees 195 pixels, VGG-16 212, ResNet-20 81, ResNet-56 249", [v[-1] for v in can_see.values()] == exact)
check("tc.summary, which reads the graph, agrees", [*summed.values()] == exact)
check("the gradient reaches exactly as far", [*reach.values()] == exact[:4])
check("deviations are predicted within 5 %", max(gap[name] for name in shown if name != "SqueezeNet") < 0.05)
check("SqueezeNet's within 15 %", gap["SqueezeNet"] < 0.15)
check("VGG-16 uses less of its field than AlexNet, which uses under 70 %", part["VGG-16"] < part["AlexNet"] < 0.7)
check("evidence far away: learned, and the gradient goes there", accuracy[1] > 90 and width[2] > 1.4 * width[0])
check("evidence near the middle: the gradient stays there", width[1] < width[2])

# %% [markdown]
# Luo et al. saw fields grow in training, on photographs. Here it goes both ways: the evidence decides.
#
# ## Exercises
#
# 1. For $n$ layers of 3x3, `fields` gives a reach of $2 n + 1$. How does the deviation grow? Measure it, draw both.
# 2. Leave out `eval()`: batch norm stays in training mode. How far does the gradient of ResNet-20 reach now, and why?
# 3. Let the places be six or seven pixels away, and try several seeds. How often does learning fail, and what helps?
