# %% [markdown] seconds=55
# # 11 · Inside a ResNet
#
# Two blocks with shortcuts make $(1 + f_2)(1 + f_1) = 1 + f_1 + f_2 + f_2 f_1$: four paths from input to output, each
# block on half of them. Veit et al. (2016) read a ResNet like that: not one deep net, but very many nets, most of them
# shallower. Is that more than a way of speaking? This lesson counts paths, cuts them, and looks around.

# %%
import math
from itertools import combinations
from pathlib import Path

import numpy as np

import tinycnn as tc
from tinycnn import functional as F
from tinycnn import plotting
from tinycnn.lesson import FAST, check, glyphs, show
from tinycnn.lesson.experiment import load
from tinycnn.lesson.training import twin

# %% [markdown]
# ## Two to the power of n
#
# > ResNet-110 has 54 blocks. At each, a path goes through the block or takes the shortcut. How many paths are there?
# > Through how many blocks does a typical one go?

# %%
n = 54
numbers = np.arange(n + 1)
paths = np.array([math.comb(n, k) for k in numbers]) / 2**n
short = 100 * paths[5:18].sum()
print(f"{2**n:,} paths, through {n / 2:.0f} +- {math.sqrt(n) / 2:.2f} blocks; {short:.2f} % of them through 5 to 17")

# %% [markdown]
# They are like throws of 54 coins: nearly all paths are about half as long as the net.
#
# ## Each path brings a part of the gradient
#
# Backward, a block multiplies the gradient by $1 + f'$, so the gradient is a sum over all paths too. One of them can be
# followed alone: `detach` keeps a number and stops its gradient, and in each block one of the two ways is stopped.
#
# > Take a net of 20 layers: nine blocks, 512 paths. Add up what they bring, one by one. How close will the sum be to
# > the ordinary gradient, with ReLU and batch norm on the way?


# %%
def chain(net):
    return [*net.layer1, *net.layer2, *net.layer3]


def gradient(net, images, labels, path=None):
    """Return the gradient at the first block's input: along all paths, or along the one through certain blocks."""
    x = start = tc.Tensor(net.relu(net.bn1(net.conv1(tc.Tensor(images)))).data, requires_grad=True)
    for number, block in enumerate(chain(net)):
        through, around = block.transform(x), x if block.downsample is None else block.downsample(x)
        if path is not None:
            through, around = (through, around.detach()) if number in path else (through.detach(), around)
        x = block.relu(through + around)
    F.cross_entropy(net.fc(net.avgpool(x)), labels).backward()
    return start.grad


images, labels = glyphs(1000, 10)[0].batch(np.arange(4), np.random.default_rng(0))
batch = images.astype(np.float64), labels
net = twin("residual", 14 if FAST else 20, 0.25, seed=0).to(np.float64)
blocks = len(chain(net))
parts = [gradient(net, *batch, path) for k in range(blocks + 1) for path in combinations(range(blocks), k)]
whole = gradient(net, *batch)
gap = np.abs(sum(parts) - whole).max() / np.abs(whole).max()
print(f"{len(parts)} paths through {blocks} blocks: sum and gradient differ by {gap:.0e} of the largest element")

# %% [markdown]
# So the paths are real. Back to 54 blocks.
#
# > If a path keeps a share $r$ of the gradient in each block on its way, all paths of length $k$ together bring
# > $\binom{n}{k} r^k$: a coin again, but one that shows heads with the chance $r / (1 + r)$. Where is its peak?
#
# Of each length a few paths are drawn at random. The net is fresh: this is the gradient of the first step of training.

# %%
rng = np.random.default_rng(0)
deep = twin("residual", 2 * n + 2, 0.25, seed=0).to(np.float64)
tried, draws = (numbers[::18], 1) if FAST else (numbers[::6], 4)
drawn = [[set(rng.choice(n, k, replace=False)) for _ in range(draws)] for k in tried]
sizes = np.log10([[np.linalg.norm(gradient(deep, *batch, path)) for path in row] for row in drawn])
r = 10 ** np.polyfit(tried, sizes.mean(axis=1), 1)[0]
brought = paths * 10 ** np.interp(numbers, tried, sizes.mean(axis=1))
brought /= brought.sum()
print(f"a block leaves {r:.2f} of the gradient; a path goes through {n / 2:.0f} blocks on average")
print(f"what arrives came through {numbers @ brought:.0f} of them; predicted {n * r / (1 + r):.0f}")

figure, (left, right) = plotting.panels(9, 3.2, 2)
plotting.errors(left, tried, sizes, "paths drawn at random")
left.set(xlabel="blocks on the path", ylabel="its gradient (power of ten)")
plotting.curve(right, numbers, 100 * paths, "of all paths")
plotting.curve(right, numbers, 100 * brought, "of the gradient", 1)
right.set(xlabel="blocks on the path", ylabel="share (%)")
right.legend()
show(figure, "Left: longer paths bring less. Right: most paths go through 27 blocks, most of the gradient does not.")

# %% [markdown]
# In the paper, with a trained net, almost all of the gradient came through 5 to 17 blocks. (Here as there, norms are
# added up, as if the paths did not contradict each other.)
#
# ## Delete a block
#
# Without one block half of the paths are left; in a plain net, none.
#
# > Two trained nets of 20 layers, plain and residual. Take out one block, test, put it back. How high does the error
# > rise? Chance is 90 %. Does it matter which block it is? And what if a residual net has 32 layers?

# %%
study, kept = load("lesion"), Path("runs", "experiments")
quick = {"epochs": (6,), "images": (500,), "width": (0.5,)} if FAST else {}
seeds, depth = ((0,), 14) if FAST else ((0, 1), 20)
cells = study.cells(depth=(depth,), seed=seeds, **quick)
cells += [] if FAST else study.cells(depth=(depth + 12,), net=("residual",), seed=(0,))
rows = study.run(cells, kept / "lesion")
print(*study.table(rows), sep="\n")
show(
    study.draw(rows)["lesion"],
    "A plain net is lost with any block, a residual one with its first; faint marks are runs.",
)

nets = [("plain", depth), ("residual", depth), ("residual", depth + 12)][: 2 if FAST else 3]
without = [[row for row in rows if row["deleted"] == 1 and (row["net"], row["depth"]) == net] for net in nets]
gone = [np.mean([row["test_error"] for row in part]) for part in without]
for (name, layers), error, part in zip(nets, gone, without):
    intact = np.mean([row["intact_error"] for row in part])
    print(f"{name}-{layers} errs in {intact:.0f} %, without one of {part[0]['blocks']} blocks in {error:.0f} %")
places = 1, without[1][0]["blocks"]
first, last = (np.mean([row["test_error"] for row in without[1] if row["block"] == place]) for place in places)

# %% [markdown]
# Half of the paper's figure is there. The plain net guesses, whatever block is gone. The residual net hardly misses its
# last block; but it needs the first ones. In the paper hardly one of 54 was missed, most of all those that change the
# size. Ours has seven that can go (those cannot), so each does a larger part of the work. With more blocks one should
# be missed less; two or three runs can contradict that, so this lesson does not claim it.
#
# And mind what is compared: a net that is often wrong already has little to lose, so the *rise* of its error may be
# small (exercise 2). Look at where each ends.
#
# ## Look around
#
# The loss is a landscape above all the weights. Li et al. (2018) look at it on a plane through the trained net: two
# random directions, in which each filter makes steps as long as itself, so that nets can be compared.
#
# > Which of the two nets stands in the deeper hole? Around which is the ground more rugged?

# %%
study = load("loss_landscape")
cells = study.cells(depth=(depth,), seed=(0,), points=(5,) if FAST else (13,), **quick)
rows = study.run(cells, kept / "loss_landscape")
print(*study.table(rows), sep="\n")
show(study.draw(rows)["landscape"], "The loss on a plane through each trained net (+); its colours are powers of ten.")
floor = {row["net"]: row["least"] for row in rows}

# %%
check("of all paths through 54 blocks, 0.45 % go through 5 to 17", round(short, 2) == 0.45)
check("the gradient is the sum over all paths, to 1e-12", gap < 1e-12)
check("before training, it comes through fewer blocks than most paths have", numbers @ brought < n / 2 - 5)
check("without one block the plain net guesses, or nearly so", gone[0] > 80)
check("the residual net does not always", gone[1] < gone[0])
check("it misses its last block less than its first", last < first - 10)
check("the residual net stands in the deeper hole", floor["residual"] < floor["plain"])

# %% [markdown]
# Neither landscape is rugged. At 20 layers Li et al. hardly saw a difference either: without shortcuts theirs became
# chaotic from 56 layers on, where our plain nets do not train at all. So three pictures of one thing: shortcuts make
# paths that are short, of which some can be lost, and on which a deep net can be trained.
#
# ## Exercises
#
# 1. Follow the paths of a trained net: `tinycnn.lesson.training.trained` gives you one. Does a block leave more of the
#    gradient than in a fresh net, or less?
# 2. `tinycnn experiment lesion --depth 20 --images 2000 --epochs 8 --lr 0.03`: by how much does the error of each net
#    rise on average? Why does that not contradict the figure?
# 3. Swap two blocks of a stage instead of deleting one. Which of the nets survives that?
