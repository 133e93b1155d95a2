# %% [markdown] seconds=55
# # 06 · AlexNet audited
#
# In 2012 a net of eight layers won the ImageNet challenge by a wide margin (Krizhevsky, Sutskever and Hinton 2012). The
# paper says how large it is, and what each of its inventions was worth. An auditor takes no number on trust: what can
# be counted is counted, and what can be raced is raced.

# %%
import numpy as np

import tinycnn as tc
from tinycnn import nn, plotting
from tinycnn.data import DataLoader
from tinycnn.lesson import FAST, check, fit, glyphs, show
from tinycnn.training import evaluate

PAPER = (253440, 186624, 64896, 64896, 43264, 4096, 4096, 1000)  # neurons of the eight layers, from figure 2's caption

# %% [markdown]
# ## The books
#
# > The paper counts 60 million parameters and 650,000 neurons, that is, elements of the layers' outputs. Five layers
# > are convolutions, three fully connected. Which kind has nearly all parameters, which does nearly all multiply-adds?
# > Which layer has most neurons?

# %%
table = tc.summary(tc.models.build("alexnet_2012"))
rows = [row for row in table.rows if row.kind in ("Conv2d", "Linear")]
names = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
neurons, adds = [int(np.prod(row.output_shape)) for row in rows], [row.multiply_adds for row in rows]
share = [100 * row.parameters / table.parameters for row in rows]
print("layer  output         parameters       multiply-adds    neurons  the paper's")
for name, row, percent, count, paper in zip(names, rows, share, neurons, PAPER):
    shape = "x".join(map(str, row.output_shape))
    print(f"{name:6} {shape:10}{row.parameters:11,} {percent:5.1f} %{row.multiply_adds:14,} {count:10,} {paper:12,}")
print(f"in all {table.parameters:20,}{sum(adds):22,} {sum(neurons):10,} {sum(PAPER):12,}")
heavy, busy = round(sum(share[5:]), 1), round(100 * sum(adds[:5]) / sum(adds), 1)
print(f"fully connected layers have {heavy} % of the parameters, convolutions {busy} % of the multiply-adds")

figure, grid = plotting.panels(10, 3, 3)
columns = {"parameters (millions)": [row.parameters / 1e6 for row in rows]}
columns |= {"multiply-adds (millions)": np.divide(adds, 1e6), "neurons (thousands)": np.divide(neurons, 1e3)}
for axes, (label, values), series in zip(grid, columns.items(), range(3)):
    plotting.bars(axes, names, values, "{:.1f}", series)
    axes.set_xlabel(label)
grid[2].plot(np.divide(PAPER, 1e3), range(8), "|", color="black", markersize=17, markeredgewidth=2)
show(figure, "AlexNet layer by layer. Black: the neurons that the paper lists. Conv1 has another number of them.")

# %% [markdown]
# Seven layers agree to the last neuron. Conv1 does not; and the paper's own eight numbers do not make 650,000.
#
# > An 11x11 kernel goes over 224 pixels in steps of 4. In how many places does it stand?

# %%
totals = [96 * side**2 + sum(PAPER[1:]) for side in (54, 55)]
print(f"(224 - 11) / 4 + 1 = {(224 - 11) / 4 + 1}; rounded down, 54 x 54 x 96 makes {totals[0]:,} neurons in all")
print(f"with a padding of 2, or from 227 pixels, 55 x 55 x 96 makes {totals[1]:,}")
print(f"the list has {PAPER[0]:,} / 96 = {PAPER[0] // 96:,} = 55 x {PAPER[0] // 96 // 55} places")

# %% [markdown]
# Three counts in one paper: its figure 2 draws 55, its total is what 54 gives, and its list has 55 times 48, where 48
# is the number of kernels on each GPU. Our net pads by 2. Another sentence to audit: no convolution has more than 1 %
# of the parameters, says the introduction. Look at conv3.
#
# ## Two GPUs are two groups
#
# A GPU had 3 GB of memory, so each got half of the kernels. Those of conv2, conv4 and conv5 see only the maps on their
# own GPU: `groups=2`.
#
# > Conv4 and conv5 in two groups, or two nets of half the width, side by side: how much do the outputs differ?


# %%
def conv4_and_5(half=1, groups=1):
    first, second = (nn.Conv2d(384 // half, n // half, 3, padding=1, groups=groups) for n in (384, 256))
    return nn.Sequential(first, nn.ReLU(), second).to(np.float64)


tc.manual_seed(0)
both, alone = conv4_and_5(groups=2), conv4_and_5(half=2)
maps, sides = np.random.default_rng(0).normal(size=(1, 384, 13, 13)), []
for gpu in (0, 1):
    alone.load_state_dict({name: np.split(value, 2)[gpu] for name, value in both.state_dict().items()})
    sides.append(alone(tc.Tensor(np.split(maps, 2, axis=1)[gpu])).data)
gap = np.abs(both(tc.Tensor(maps)).data - np.concatenate(sides, axis=1)).max()
ungrouped = table.parameters + sum(rows[i].parameters - rows[i].output_shape[0] for i in (1, 3, 4))
article = sum(p.size for p in tc.models.build("alexnet_article").parameters())
print(f"difference: {gap:.0e}; AlexNet has {table.parameters:,} parameters, without groups {ungrouped:,}")
print(f"without groups, and with 2,048 units in fc6 and fc7 in place of 4,096: {article:,}")

# %% [markdown]
# The tutorial that these lessons grew from gives fc6 and fc7 2,048 units each. That is what one GPU held, as figure 2
# of the paper shows; both together had 4,096. A net with 2,048 has less than half of AlexNet's parameters.
#
# ## The race
#
# In figure 1 of the paper a net of four layers learns CIFAR-10, to 25 % error on the training images, six times sooner
# with ReLU than with tanh, each at the learning rate that suits it best. Ours has five layers and learns glyphs.
#
# > How many times sooner is ReLU there when both have the same learning rate? And when each has its best?

# %%
count, epochs, seeds, rates = (320, 6, (0,), (0.06,)) if FAST else (500, 10, (0, 1, 2), (0.03, 0.06, 0.12, 0.24))
train, test = glyphs(count, 300 if FAST else 1000, difficulty=0.2 if FAST else 0.5)


def run(seed, lr=0.03, epochs=epochs, act=nn.ReLU, alpha=5e-4, k=2.0, pool=3, dropout=0.0):
    """Train a small AlexNet; return its error in each epoch, and at the end on training and on test images (in %)."""
    tc.manual_seed(seed)
    layers = []
    for inputs, outputs, groups in ((1, 8, 1), (8, 16, 2)):
        layers += [nn.Conv2d(inputs, outputs, 5, padding=2, groups=groups), act()]
        layers += [nn.LocalResponseNorm(5, alpha, 0.75, k), nn.MaxPool2d(pool, 2, ceil_mode=True)]
    layers += [nn.Conv2d(16, 16, 3, padding=1), act(), nn.Flatten(), nn.Dropout(dropout), nn.Linear(256, 64), act()]
    net = nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(64, 10))
    for weight in (parameter for parameter in net.parameters() if parameter.ndim > 1):
        (nn.init.kaiming_normal_ if act is nn.ReLU else nn.init.xavier_normal_)(weight)
    history = fit(net, train, test, epochs, lr, 32, seed=seed, title=f"{act.__name__}, rate {lr}").history
    course = np.array([90] + [100 - 100 * row["train_accuracy"] for row in history])
    return course, *(100 - 100 * evaluate(net, DataLoader(data, 250)).accuracy for data in (train, test))


best, (figure, (left, right)) = {}, plotting.panels(9, 3.2, 2)
for series, act in enumerate((nn.ReLU, nn.Tanh)):
    runs = [[run(seed, rate, act=act)[0] for seed in seeds[:2]] for rate in rates]
    falling = -np.minimum.accumulate(runs, axis=2)
    times = [[np.interp(-25, course, range(epochs + 1), right=np.nan) for course in courses] for courses in falling]
    means = np.mean(times, axis=1)
    place, best[act] = np.nanargmin(means), np.nanmin(means)
    print(act.__name__, "epochs to 25 %:", *(f"{mean:.1f} at rate {rate}," for mean, rate in zip(means, rates)))
    plotting.curve(left, range(epochs + 1), np.mean(runs[place], axis=0), f"{act.__name__}, {rates[place]}", series)
    plotting.errors(right, range(len(rates)), times, act.__name__, series)
left.set(xlabel="epoch", ylabel="training error (%)", ylim=(0, 95))
right.set(xlabel="learning rate", ylabel="epochs to 25 % error", ylim=(0, None))
right.set_xticks(range(len(rates)), rates)
left.legend(title="learning rate")
show(figure, "Left: each at its best learning rate, mean of the runs. Right: time to 25 %, if it was reached.")
print(f"each at its best rate: tanh takes {best[nn.Tanh] / best[nn.ReLU]:.1f} times as long as ReLU")

# %% [markdown]
# Not six times: each has its valley, and tanh's is no less deep. ReLU is ahead at small rates; tanh, which never leaves
# -1 to 1, bears larger ones. Perhaps because our inputs are normalised, and our weights start as Xavier's and He's do.
#
# ## The other inventions
#
# The paper says what each took off the top-1 error: local response normalisation (LRN) 1.4 %, pooling with windows that
# overlap (3x3 in steps of 2, not 2x2) 0.4 %. Dropout was needed against overfitting, and doubled the time. LRN divides
# $a$ by $(2 + 10^{-4} \sum a^2)^{0.75}$, the sum going over five neighbouring maps.
#
# > Switch each of them. One more switch: without its sum, LRN is a division by $2^{0.75}$. Which will you notice?

# %%
switches = {"as published, no dropout": {}, "no LRN": {"k": 1.0, "alpha": 0.0}, "LRN without its sum": {"alpha": 0.0}}
switches |= {"pooling 2x2": {"pool": 2}, "dropout": {"dropout": 0.5}}
switches["dropout, twice as long"] = {"dropout": 0.5, "epochs": 2 * epochs}
means, (figure, axes) = [], plotting.panels(8, 2.8)
for height, (name, change) in enumerate(switches.items()):
    _, training, error = zip(*(run(seed, **change) for seed in seeds))
    means.append(np.mean(error))
    print(f"{name:24} test error", *(f"{value:5.1f}" for value in error), f"% (training {np.mean(training):4.1f} %)")
    axes.plot(error, [height] * len(error), "o", color=plotting.BLUE)
    axes.plot(means[-1], height, "|", color="black", markersize=18)
axes.set(yticks=range(len(switches)), yticklabels=switches, xlabel="test error (%)", xlim=(0, None))
axes.invert_yaxis()
show(figure, "Test errors of small nets: each mark is a run, the bar is their mean.")

# %%
check("60,965,224 parameters and 724,406,816 multiply-adds", (table.parameters, sum(adds)) == (60965224, 724406816))
check("96.2 % of parameters are connected, 91.9 % of multiply-adds are convolutions", (heavy, busy) == (96.2, 91.9))
check("622,312 neurons by the list; with 54 places 648,808", [sum(PAPER), totals[0]] == [622312, 648808])
check("conv3 and conv4 have more than 1 % of the parameters", min(share[2:4]) > 1)
check("two groups are two nets of half the width, to 1e-12", gap < 1e-12)
check("62,378,344 parameters without groups, 28,868,968 with 2,048 units", [ungrouped, article] == [62378344, 28868968])
check("here ReLU is not six times sooner than tanh", best[nn.Tanh] < 3 * best[nn.ReLU])
check("with dropout these small nets learn more slowly", means[4] > max(means[0], means[5]))

# %% [markdown]
# Look at LRN without its sum: here the constant can do all the work. For the sum to be felt, activations must be near
# $\sqrt{2 / (5 \cdot 10^{-4})}$, about 60: possible in 2012, when raw pixel values went in, not here. VGG found no use
# for LRN. The kind of pooling makes no difference that three seeds could show, and dropout cripples a net that is too
# small to overfit. Small races tell about small nets: an auditor signs the books, not the races.
#
# ## Exercises
#
# 1. Multiply the inputs by 60: give `train.transform` a smaller `std`. Does the sum in LRN matter now? Who wins?
# 2. Give dropout what it needs: a wide hidden layer, few images, ten times the epochs. When does it begin to pay?
# 3. Which image size without padding makes 55 places? Which paddings and sizes lead to 13 and to 6 at the end?
