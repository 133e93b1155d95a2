# %% [markdown] seconds=25
# # 17 · What the filters see
#
# A network is not told what to look for. This lesson opens a trained one: its first kernels, the maps they make, the
# patches that please later filters most, and what happens to an answer when a part of the image is covered (Zeiler and
# Fergus 2014).

# %%
import numpy as np

import tinycnn as tc
from tinycnn import functional as F
from tinycnn import nn, plotting
from tinycnn.data import Glyphs
from tinycnn.data.transforms import Normalize
from tinycnn.lesson import FAST, check, fit, show

count, epochs = (1000, 3) if FAST else (4000, 7)
train, test = Glyphs("train", 28, 3, count=count), Glyphs("test", 28, 3, count=600)
train.transform = test.transform = Normalize.of(train.images)
tc.manual_seed(0)
net = nn.Sequential(
    *(nn.Conv2d(3, 16, 7, padding=3), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
    *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
    *(nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
    *(nn.GlobalAvgPool2d(), nn.Linear(32, 10)),
)
before = net[0].weight.data.copy()

# %% [markdown]
# ## First-layer kernels
#
# > The kernels start as noise. Ink may be lighter or darker than its ground, and of any colour; the colour says
# > nothing about the digit. What will the kernels look like after training: coloured, or grey? Blobs, or edges?

# %%
trainer = fit(net, train, test, epochs, lr=0.05, batch_size=32)
accuracy = trainer.history[-1]["test_accuracy"]
after = net[0].weight.data


def smoothness(kernels):
    """Return the correlation of neighbouring weights."""
    return np.corrcoef(kernels[..., 1:].ravel(), kernels[..., :-1].ravel())[0, 1]


def greyness(kernels):
    """Return the share of the kernels' squares that is equal in red, green and blue; 1/3 for independent noise."""
    return 3 * (kernels.mean(axis=1) ** 2).sum() / (kernels**2).sum()


print(f"test accuracy {100 * accuracy:.1f} %")
for name, kernels in (("before", before), ("after", after)):
    print(f"{name} training: neighbours correlate {smoothness(kernels):+.2f}, {100 * greyness(kernels):.0f} % is grey")
figure = plotting.new_figure(9, 1.3)
for axes, kernel in zip(figure.subplots(2, 16).flat, [*before, *after]):
    axes.imshow(0.5 + 0.5 * kernel.transpose(1, 2, 0) / np.abs(kernel).max())
    axes.set_axis_off()
show(
    figure,
    "The sixteen 7x7 kernels before training (above) and after it (below), each in its own scale; mid-grey is 0.",
)

# %% [markdown]
# ## What they make of an image
#
# > The first layer keeps 28x28 pixels, the third has 7x7. Follow one image through the net. In which layer can you
# > still read the digit? Which would you call "ink", which "edge"?

# %%
net.eval()
image = int(np.flatnonzero(trainer.evaluation.probabilities.argmax(axis=1) == test.labels)[4])
with tc.no_grad():
    stages = [tc.Tensor(test.transform(test.images, None))]
    for module in net[:11]:
        stages.append(module(stages[-1]))
layers = {"first": stages[3].data, "second": stages[7].data, "third": stages[11].data}  # each after its ReLU

figure = plotting.new_figure(9, 3.2)
grid = figure.subplots(3, 11)
for row, (name, maps) in zip(grid, layers.items()):
    row[0].imshow(test.images[image].transpose(1, 2, 0))
    row[0].set_title(f"image; {name} layer:", fontsize=8, loc="left")
    strongest = np.argsort(-maps[image].max(axis=(1, 2)), kind="stable")[:10]
    for axes, channel in zip(row[1:], strongest):
        axes.imshow(maps[image, channel], cmap="Greys")
for axes in grid.flat:
    axes.set(xticks=[], yticks=[])
show(figure, "The ten strongest maps of each layer for one image; dark is active.")
dead = {name: float((maps == 0).mean()) for name, maps in layers.items()}
print("silent elements:", ", ".join(f"{name} layer {100 * share:.0f} %" for name, share in dead.items()))

# %% [markdown]
# ## What pleases a filter most
#
# An element of the second layer at row $i$ sees the rows from $2i - 5$ to $2i + 6$: twelve pixels (lesson 04).
#
# > Look through all test images for the patches that drive one filter highest. Will they have the same digit, or the
# > same stroke?

# %%
field = tc.summary(net, (3, 28, 28)).rows[5].receptive_field
padded = np.pad(test.images, ((0, 0), (0, 0), (5, 6), (5, 6)), mode="edge")
maps = layers["second"]
figure = plotting.new_figure(9, 3.6)
grid = figure.subplots(6, 12)
kinds = []
for column, channel in zip(grid.T, np.argsort(-maps.max(axis=(0, 2, 3)), kind="stable")[:12]):
    best = np.argsort(-maps[:, channel].max(axis=(1, 2)), kind="stable")[:6]  # images, each with its best place
    kinds.append(len(set(test.labels[best])))
    for axes, index in zip(column, best):
        i, j = np.unravel_index(maps[index, channel].argmax(), maps.shape[2:])
        axes.imshow(padded[index, :, 2 * i : 2 * i + field, 2 * j : 2 * j + field].transpose(1, 2, 0))
        axes.set(xticks=[], yticks=[])
show(
    figure, "A column for each of twelve filters of the second layer: the six patches that it answers to most strongly."
)
print(f"digits among the six best patches of a filter: {np.mean(kinds):.1f} on average")

# %% [markdown]
# ## Cover a part
#
# Slide a square in the colour of the ground over an image, and note the probability of the true digit each time.
#
# > Where does covering hurt most? Can covering ever help?

# %%
patch, some = 8, (8 if FAST else 60)
right = np.flatnonzero(trainer.evaluation.probabilities.argmax(axis=1) == test.labels)[:some]
places = [(top, left) for top in range(0, 29 - patch, 2) for left in range(0, 29 - patch, 2)]
drops, on, off = [], [], []
for index in right:
    covered = np.repeat(test.images[[index]], len(places) + 1, axis=0)
    ground = np.median(test.images[index], axis=(1, 2))[:, None, None]
    for copy, (top, left) in zip(covered, places):
        copy[:, top : top + patch, left : left + patch] = ground
    with tc.no_grad():
        chance = F.softmax(net(tc.Tensor(test.transform(covered, None))), dim=1).data[:, test.labels[index]]
    drops.append(chance[-1] - chance[:-1])
    box = test.boxes[index]
    for drop, (top, left) in zip(drops[-1], places):
        x, y = left + patch / 2, top + patch / 2
        (on if box[0] <= x <= box[2] and box[1] <= y <= box[3] else off).append(drop)
print(f"a square in the digit's box costs {100 * np.mean(on):.1f} points, elsewhere {100 * np.mean(off):.1f}")
print(f"the largest gain by covering: {-100 * min(map(np.min, drops)):.1f} points")

figure = plotting.new_figure(9, 2.3)
grid = figure.subplots(2, 8)
side = int(len(places) ** 0.5)
for column, index, drop in zip(grid.T, right, drops):
    column[0].imshow(test.images[index].transpose(1, 2, 0))
    heat = column[1].imshow(100 * drop.reshape(side, side), cmap="PuOr_r", vmin=-100, vmax=100, extent=(3, 25, 25, 3))
    for axes in column:
        axes.set(xticks=[], yticks=[], xlim=(-0.5, 27.5), ylim=(27.5, -0.5))
figure.colorbar(heat, ax=grid, label="lost probability (points)", shrink=0.8)
show(figure, "Where the centre of the square is, there the map shows what covering cost (orange) or gained (purple).")

# %%
check("training makes neighbouring weights alike", smoothness(after) > smoothness(before) + 0.1)
check("the kernels turn grey: colour says nothing about the digit", greyness(after) > 1.3 * greyness(before))
check("an element of the second layer sees 12x12 pixels", field == 12)
check("in each layer, at least about half of all elements are silent", min(dead.values()) > 0.4)
check("a filter answers to strokes that several digits share", np.mean(kinds) > 1.5)
check("covering the digit hurts more than covering the ground", np.mean(on) > 2 * np.mean(off))

# %% [markdown]
# AlexNet's first kernels (Krizhevsky et al. 2012, figure 3) are edges on one GPU and colours on the other, because in
# photographs colour does say something. These see only what their data make useful.
#
# ## Exercises
#
# 1. Make colour useful: give the test and training images of each digit a tint of its own. What do the kernels become?
# 2. Cover with grey noise rather than the ground's colour. Which map do you believe more, and why?
# 3. Start from a noisy image and change the *image* by gradient ascent until a filter of the third layer is as pleased
#    as can be. Does it look like a digit?
