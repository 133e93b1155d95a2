# %% [markdown] seconds=45
# # 13 · Global average pooling, and maps of what a class looks at
#
# After the last convolution there are maps, and ten scores are wanted. AlexNet and VGG put the maps end to end and
# connect everything with everything. Lin et al. (2013) took the mean of each map instead. That leaves very few
# parameters, and it leaves a picture: where in the image the evidence was (Zhou et al. 2016).

# %%
import numpy as np

import tinycnn as tc
from tinycnn import nn, plotting
from tinycnn.data import ArrayDataset, DataLoader, Glyphs
from tinycnn.data.transforms import Normalize, Resize
from tinycnn.lesson import FAST, check, fit, show
from tinycnn.training import evaluate

SIDE, GLYPH = 32, 16


def scenes(split, count, seed, lefts):
    """Return dim noisy images with glyphs of different classes, each from a range of columns; all labels and boxes."""
    rng = np.random.default_rng(seed)
    drawn = Glyphs(split, GLYPH, count=10 * count, seed=seed, difficulty=0.0)
    images = rng.normal(40, 12, (count, 1, SIDE, SIDE))
    labels, boxes = np.empty((count, len(lefts)), int), np.empty((count, len(lefts), 4))
    for i in range(count):
        chosen = 10 * rng.integers(count, size=len(lefts)) + rng.choice(10, len(lefts), replace=False)
        for j, glyph in enumerate(chosen):
            left, top = rng.integers(*lefts[j]), rng.integers(SIDE - GLYPH + 1)
            images[i, 0, top : top + GLYPH, left : left + GLYPH] += 0.7 * drawn.images[glyph, 0]
            labels[i, j], boxes[i, j] = drawn.labels[glyph], drawn.boxes[glyph] + [left, top, left, top]
    return np.clip(images, 0, 255).astype(np.uint8), labels, boxes


def dataset(images, labels, *_):
    return ArrayDataset(images, labels[:, 0], "0123456789", Normalize([0.25], [0.2]))


LEFT, RIGHT = (0, 5), (SIDE - GLYPH - 4, SIDE - GLYPH + 1)
few, many, epochs, seeds = (400, 200, 8, (0,)) if FAST else (600, 1000, 14, (0, 1, 2))
train = dataset(*scenes("train", few, 0, [LEFT]))
tests = {"left": dataset(*scenes("test", many, 1, [LEFT])), "right": dataset(*scenes("test", many, 2, [RIGHT]))}

# %% [markdown]
# ## Two heads on one trunk
#
# > The trunk ends in 32 maps of 8x8. How many parameters has a head that averages them and goes to 10 scores? How many
# > has one that flattens them and has 64 hidden units? In all training images the digit is on the left. What will each
# > head make of digits on the right?

# %%
heads = {
    "average": lambda: nn.Sequential(nn.GlobalAvgPool2d(), nn.Linear(32, 10)),
    "connected": lambda: nn.Sequential(nn.Flatten(), nn.Linear(32 * 8 * 8, 64), nn.ReLU(), nn.Linear(64, 10)),
}


def trunk():
    layers, inputs = [], 1
    for outputs, pool in ((16, True), (32, True), (32, False)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if pool else []
        inputs = outputs
    return nn.Sequential(*layers)


nets, accuracy, size = {}, {}, {}
for name, head in heads.items():
    size[name] = sum(p.size for p in head().parameters())
    for seed in seeds:
        tc.manual_seed(seed)
        nets[name] = nn.Sequential(trunk(), head())
        last = fit(nets[name], train, tests["left"], epochs, 0.02, 16, seed=seed, title=f"{name}, {seed}").history[-1]
        other = evaluate(nets[name], DataLoader(tests["right"], 256)).accuracy
        accuracy.setdefault(name, []).append([100 * last["train_accuracy"], 100 * last["test_accuracy"], 100 * other])
    values = "".join(f"{value:8.1f} %" for value in np.mean(accuracy[name], axis=0))
    print(f"{name:10} {size[name]:8,} parameters; training, test on the left, test on the right: {values}")

figure, grid = plotting.panels(9, 2.6, 2)
plotting.bars(grid[0], list(size), [n / 1000 for n in size.values()], "{:.2f}")
grid[0].set_xlabel("parameters of the head (thousands)")
for series, (name, runs) in enumerate(accuracy.items()):
    colour, line, marker = plotting.SERIES[series]
    grid[1].plot(np.transpose(runs), marker, color=colour, alpha=0.6)
    grid[1].plot(np.mean(runs, axis=0), line, color=colour, label=name)
grid[1].set_xticks(range(3), ("training", "test, left", "test, right"))
grid[1].set(ylabel="accuracy (%)", ylim=(0, 102))
grid[1].legend()
show(figure, "A mark is a run. What the average has learned on the left it knows on the right too.")

# %% [markdown]
# The connected head has weights of its own for every place, and those on the right saw no digit. It also has enough of
# them to learn its training images by heart. The average cannot tell places apart, so it cannot be fooled by them.
#
# ## Where was the evidence?
#
# With an average, the score of class $c$ is a sum over maps $k$ and places: $s_c = b_c + \sum_k w_{ck} \, \frac{1}{Z}
# \sum_{xy} A_k(x, y)$, with $Z$ places. Change the order of the sums, and each place has a share of the score. That is
# the class activation map:
#
# $$M_c(x, y) = \sum_k w_{ck} A_k(x, y)$$
#
# Grad-CAM (Selvaraju et al. 2017) works for any head: it weighs each map by the mean gradient of the score.
#
# > For the averaging head, what is the gradient of $s_c$ for one element of $A_k$? So how do the two maps differ?


# %%
def grad_cam(net, images, classes):
    """Return each map weighed by the mean gradient of the score of a class; and the maps."""
    maps = tc.Tensor(net[0](tc.Tensor(images)).data, requires_grad=True)
    net[1](maps)[np.arange(len(classes)), classes].sum().backward()
    return (maps.grad.mean(axis=(2, 3), keepdims=True) * maps.data).sum(axis=1), maps.data


images, labels, boxes = scenes("test", many, 3, [LEFT, RIGHT])  # two digits
inputs = dataset(images, labels).transform(images, None).astype(np.float64)
for net in nets.values():
    net.eval().to(np.float64)
maps = {name: [grad_cam(net, inputs, classes)[0] for classes in labels.T] for name, net in nets.items()}
features = grad_cam(nets["average"], inputs, labels[:, 0])[1]
cam = np.einsum("nk,nkxy->nxy", nets["average"][1][1].weight.data[labels[:, 0]], features)
places = cam[0].size
difference = np.abs(cam - places * maps["average"][0]).max() / np.abs(cam).max()
print(f"CAM is {places} times Grad-CAM, to {difference:.0e} of its largest value")

# %% [markdown]
# ## The pointing game
#
# > Each image now has two digits, one on each side; no training image had two. Ask for one of them, take the brightest
# > point of the map: is it in the box of the digit that was asked for? How often would a random point be? And a map
# > that shows both digits equally?


# %%
def hits(heat, boxes):
    """Return how often the highest point of maps is in the box, and how often a random point would be (in %)."""
    large = Resize(SIDE)(heat[:, None], None)[:, 0].reshape(len(heat), -1)
    y, x = np.divmod(large.argmax(axis=1), SIDE)
    left, top, right, bottom = boxes.T
    inside = (left <= x) & (x <= right) & (top <= y) & (y <= bottom)
    return 100 * inside.mean(), 100 * ((right - left) * (bottom - top)).mean() / SIDE**2


score = {}
for name, pair in maps.items():
    found = [hits(heat, boxes[:, side]) for side, heat in enumerate(pair)]
    score[name] = [hit for hit, _ in found]
    print(f"{name:10} left {found[0][0]:5.1f} %, right {found[1][0]:5.1f} %; a random point {found[0][1]:5.1f} %")

figure = plotting.new_figure(9, 3.6)
for column, axes in enumerate(figure.subplots(2, 5).T):
    for side in (0, 1):
        left, top, right, bottom = boxes[column, side]
        heat = Resize(SIDE)(maps["average"][side][[column]][:, None], None)[0, 0]
        axes[side].imshow(images[column, 0], cmap="gray")
        axes[side].imshow(heat, cmap="inferno", alpha=0.55)
        axes[side].plot([left, right, right, left, left], [top, top, bottom, bottom, top], color="white", linewidth=1.5)
        axes[side].set_title(f"where is the {labels[column, side]}?", fontsize=9)
        axes[side].set_axis_off()
show(figure, "Class activation maps of the averaging net for two questions about each image; the box is the answer.")

# %%
learned, by_heart = (np.mean(accuracy[name], axis=0) for name in heads)
check("the averaging head has 330 parameters, the connected one 131,786", [*size.values()] == [330, 131786])
check("CAM is 64 times Grad-CAM, to 1e-12", places == 64 and difference < 1e-12)
check("the connected head loses more from training to test", by_heart[0] - by_heart[1] > learned[0] - learned[1])
check("on the right, where no training digit was, the average does better", learned[2] > by_heart[2] + 10)
check(
    "asked for either digit, the average points at that digit more often than a coin would", min(score["average"]) > 55
)

# %% [markdown]
# A map that lights up at any digit would be right half of the time here, so 50 % is the mark to beat, not the random
# point. The connected head was never shown two digits, nor one on the right: what its gradient says there is about
# other places. On CIFAR-10 the average regularises about as well as dropout (Lin et al. 2013, section 4.6): behind
# their own net it did better than connected layers with dropout, behind an ordinary CNN slightly worse (errors of
# 16.46 % against 15.99 %), and in both better than connected layers alone.
#
# ## Exercises
#
# 1. Put `nn.Dropout(0.5)` behind the hidden layer of the connected head, or train it on digits anywhere. What does each
#    of the two repair, and what not?
# 2. Make the map sharper: take out one `MaxPool2d`. Does pointing get better? Does accuracy?
# 3. Class activation maps say what speaks for a class. Show the images that the net gets wrong with the maps of the
#    true class and of the answer. What misled it?
