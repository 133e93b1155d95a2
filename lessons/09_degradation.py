# %% [markdown] seconds=300
# # 09 · Degradation is not overfitting
#
# More layers can do all that fewer layers do, and more. So a deeper net should never train worse. He et al. (2015,
# figure 1) found that it does: on CIFAR-10 a plain net of 56 layers had a higher error than one of 20, on the test
# images *and on those that it was trained on*. This lesson repeats it at toy scale. It takes minutes; results are
# kept in `runs/experiments`, and an interrupted run continues from there.

# %%
from pathlib import Path

import numpy as np

import tinycnn as tc
from tinycnn import functional as F
from tinycnn import plotting
from tinycnn.lesson import FAST, check, glyphs, show
from tinycnn.lesson.experiment import load
from tinycnn.lesson.training import twin

# %% [markdown]
# ## The sweep
#
# > Plain nets with batch norm, trained alike, from a few layers to many. If the deep ones overfit, which of the two
# > errors, training and test, is low and which is high? What do you expect to see?
#
# Each net is trained from several seeds. Training error is counted while the last epoch runs.

# %%
study = load("degradation")
quick = {"depth": (8, 32), "seed": (0,), "images": (500,), "epochs": (6,), "lr": (0.1,), "width": (0.25,)}
cells = study.cells(net=("plain",), **(quick if FAST else {}))
rows = study.run(cells, Path("runs", "experiments", "degradation"))
depths = sorted({row["depth"] for row in rows})
last = [row for row in rows if row["epoch"] == row["epochs"]]
errors = {
    split: [[row[f"{split}_error"] for row in last if row["depth"] == depth] for depth in depths]
    for split in ("train", "test")
}
for depth, train, test in zip(depths, errors["train"], errors["test"]):
    print(
        f"plain-{depth:2}: training error {np.mean(train):4.1f} +- {np.std(train):4.1f} %, "
        f"test error {np.mean(test):4.1f} +- {np.std(test):4.1f} %"
    )

figure, axes = plotting.panels(8, 3.6)
for series, (split, runs) in enumerate(errors.items()):
    plotting.errors(axes, depths, runs, split, series)
axes.set(xlabel="depth (layers)", ylabel="error (%)", xticks=depths)
axes.legend()
show(figure, "Error of plain nets by depth. Faint marks are runs, bars one standard deviation.")

# %% [markdown]
# Overfitting is a low training error beside a high test error. Here both rise together: the deep net does not even
# fit what it is shown. Something keeps it from being found.
#
# ## Is it the gradient that vanishes?
#
# > Batch norm rescales every layer. Before training, is the gradient at the first layer of the deepest net smaller
# > than at the last convolution, or larger? And later, while it learns?

# %%
deepest = depths[-1]
images, labels = glyphs(64, 10)[0].batch(np.arange(64), np.random.default_rng(0))
net = twin("plain", deepest, 0.5, seed=0)
with tc.watch(net, kinds=(tc.nn.Conv2d,)) as record:
    F.cross_entropy(net(tc.Tensor(images)), labels).backward()
_, layers, sizes = record.table("weight_gradient")
start = sizes[0, 0] / sizes[0, -1]
print(f"before training, first over last convolution: {start:.2f}, {start ** (1 / len(layers)):.3f} a layer")
later = np.mean([row["gradient_first"] / row["gradient_last"] for row in last if row["depth"] == deepest])
print(f"in the last epoch of the sweep: {later:.3f}, {later ** (1 / len(layers)):.3f} a layer")

figure, axes = plotting.panels(8, 3.4)
plotting.curve(axes, np.arange(1, len(layers) + 1), sizes[0], f"plain-{deepest} before training")
axes.set(yscale="log", xlabel="convolution, from input to output", ylabel="norm of the weight's gradient")
axes.legend()
show(figure, "With batch norm the gradient of a deep plain net does not vanish on its way back: it grows.")

# %%
train, test = ([np.mean(runs) for runs in errors[split]] for split in ("train", "test"))
check("the deepest net has a higher training error than the shallowest", train[-1] > train[0])
check("and a higher test error", test[-1] > test[0])
check("before training, the first layer's gradient is no smaller than the last one's", start > 1)
check("in training it shrinks by less than a tenth in a layer, not by half", later ** (1 / len(layers)) > 0.9)

# %% [markdown]
# He et al. verified that their plain nets had healthy gradients, and concluded that vanishing is not the cause. At
# toy scale it does not vanish before training either: on its way back it even grows. While a deep net is stuck, its
# first layers do get less than its last: the line above says how much. That is far from the half in each layer of
# lesson 08, but it is not nothing; our nets are narrow, train briefly and have no warm-up.
#
# ## Exercises
#
# 1. Train the deepest net with a learning rate of 0.1 and of 0.01: `study.cells(net=("plain",), lr=(0.1, 0.01))`.
#    Does degradation go away?
# 2. Double the epochs. He et al. trained for 64,000 steps: count ours. Does the gap close?
# 3. Set the last half of the layers of plain-20 to the identity by hand. Why could training not find that? (Lesson
#    10.)
