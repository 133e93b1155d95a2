# %% [markdown] seconds=600
# # 10 · The shortcut
#
# Lesson 09 ended with deep nets that do not train. He et al. (2015) let each block learn only what to add to its
# input: $y = x + f(x)$. Its derivative is $1 + f'$: a gradient comes back even where $f'$ is nothing. The sweep here
# takes minutes; it continues from the results of lesson 09 in `runs/experiments`.

# %%
import math
from pathlib import Path

import numpy as np

import tinycnn as tc
from tinycnn import functional as F
from tinycnn import plotting
from tinycnn.lesson import FAST, check, glyphs, show
from tinycnn.lesson.experiment import load
from tinycnn.lesson.training import twin

# %% [markdown]
# ## The same sweep with shortcuts
#
# > The plain nets got worse with depth. With shortcuts, which have no parameter, what will training error do?

# %%
study = load("degradation")
quick = {"depth": (8, 32), "seed": (0,), "images": (500,), "epochs": (6,), "lr": (0.1,), "width": (0.25,)}
rows = study.run(study.cells(**(quick if FAST else {})), Path("runs", "experiments", "degradation"))
last = [row for row in rows if row["epoch"] == row["epochs"]]
depths = sorted({row["depth"] for row in rows})
figure, axes = plotting.panels(8, 3.6)
error = {}
for series, net in enumerate(("plain", "residual")):
    runs = [[row["train_error"] for row in last if (row["net"], row["depth"]) == (net, d)] for d in depths]
    error[net] = [np.mean(values) for values in runs]
    plotting.errors(axes, depths, runs, net, series)
    print(f"{net:8} training error:", *(f"{np.mean(v):.1f} +- {np.std(v):.1f} %" for v in runs))
axes.set(xlabel="depth (layers)", ylabel="training error (%)", xticks=depths)
axes.legend()
show(figure, "Training error by depth, the mean of the runs with one standard deviation.")

# %% [markdown]
# ## A shortcut alone explodes
#
# > If $f(x)$ is about as large as $x$ and independent of it, the variance doubles in each block. By which power of
# > ten does the signal grow in a block?

# %%
rng = np.random.default_rng(0)
width, blocks = 256, 60
x, sizes = rng.normal(size=width), []
for _ in range(blocks):
    x = x + rng.normal(scale=math.sqrt(1 / width), size=(width, width)) @ x
    sizes.append(math.log10(np.linalg.norm(x)))
growth = np.polyfit(range(blocks), sizes, 1)[0]
print(f"predicted {math.log10(2) / 2:.3f} powers of ten a block, measured {growth:.3f}")

# %% [markdown]
# So a shortcut needs batch norm, or a small start of $f$, beside it.
#
# ## A thousand layers
#
# > A net of 1,202 layers, as in the paper, but narrow. How much does the gradient change in a layer, with shortcuts
# > and without?

# %%
depth = 302 if FAST else 1202
images, labels = glyphs(64, 10)[0].batch(np.arange(8), np.random.default_rng(0))
figure, axes = plotting.panels(8, 3.6)
factor, finite = {}, {}
for series, kind in enumerate(("plain", "residual")):
    net = twin(kind, depth, 0.25, seed=0)
    optimizer = tc.optim.SGD(net.parameters(), lr=1e-6)
    with np.errstate(all="ignore"), tc.watch(net, kinds=(tc.nn.Conv2d,)) as record:
        F.cross_entropy(net(tc.Tensor(images)), labels).backward()
        optimizer.step()
    size = record.table("weight_gradient")[2][0]
    good = np.isfinite(size) & (size > 0)
    places = np.arange(1, len(size) + 1)
    factor[kind] = 10 ** -np.polyfit(places[good], np.log10(size[good]), 1)[0]
    finite[kind] = all(np.isfinite(p.data).all() for p in net.parameters())
    print(f"{kind}-{depth}: {factor[kind]:.3f} a layer backward; weights after one step finite: {finite[kind]}")
    plotting.curve(axes, places[good], size[good], kind, series)
axes.set(yscale="log", xlabel="convolution, from input to output", ylabel="norm of the weight's gradient")
axes.legend()
show(figure, "Gradients of a very deep net before training. Where a curve ends, float32 has ended.")

# %%
check("at the greatest depth the residual net has the lower training error", error["residual"][-1] < error["plain"][-1])
check("residuals without normalisation double the variance in each block", abs(growth - math.log10(2) / 2) < 0.03)
check("with shortcuts the gradient changes by less than 5 % a layer", abs(factor["residual"] - 1) < 0.05)
check("without, it grows by more than 8 % a layer", factor["plain"] > 1.08)
check("after one step all weights of the residual net are finite", finite["residual"])

# %% [markdown]
# The gradient of the very deep residual net is not the same everywhere, but it stays within what float32 holds. The
# plain net's does not. In our sweep the deepest residual nets are no better than middling ones: the task is small.
#
# ## Exercises
#
# 1. Scale `f` by $1 / \sqrt{L}$ for $L$ blocks. How large is the signal after all of them?
# 2. Set the last batch norm's weight of each block to 0 at the start. What is the gradient's factor now?
# 3. Train the 1,202 layers for ten steps with a rate of 0.01. Does the loss fall?
