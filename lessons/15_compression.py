# %% [markdown] seconds=60
# # 15 · Compression to 1/510
#
# SqueezeNet (Iandola et al. 2016) has AlexNet's accuracy in a fiftieth of its size, and by its table 2 in 1/510: Deep
# Compression (Han et al. 2016) prunes weights, lets the others share few values, and gives frequent ones short words.

# %%
from pathlib import Path

import numpy as np

import tinycnn as tc
from tinycnn import plotting
from tinycnn.compression import container, huffman, prune
from tinycnn.compression.quantize import quantize
from tinycnn.compression.share import Sharing, kmeans, rate, share
from tinycnn.data import DataLoader
from tinycnn.lesson import FAST, check, fit, glyphs, show
from tinycnn.training import evaluate

# %% [markdown]
# ## First, the units
#
# > The table says 240 MB for AlexNet and 4.8 MB for SqueezeNet. A float32 takes four bytes. What do 60,965,224 and
# > 1,248,424 of them take, in megabytes ($10^6$ bytes) and in mebibytes ($2^{20}$)? Which did the authors use?

# %%
count = {name: sum(p.size for p in tc.models.build(name).parameters()) for name in ("alexnet_2012", "squeezenet1_0")}
for (name, n), paper in zip(count.items(), (240, 4.8)):
    print(f"{name:13} {n:10,} parameters {4 * n / 1e6:6.2f} MB {4 * n / 2**20:6.2f} MiB; the paper: {paper} MB")
alexnet, fewer = 4 * count["alexnet_2012"], count["alexnet_2012"] / count["squeezenet1_0"]
print(f"ratio {fewer:.2f}; from the paper's figures 240 / 4.8 = {240 / 4.8:.1f} and 240 / 0.47 = {240 / 0.47:.1f}")

# %% [markdown]
# Both: 4.8 is in mebibytes, and 240 is 60 million times four, in megabytes. The ratio is 48.8, in bytes too.
#
# ## Prune
#
# > The smallest weights of LeNet-5 become zero. How many can go before accuracy falls? And if it trains on meanwhile?

# %%
train, test = glyphs(*((1500, 500) if FAST else (4000, 2000)), size=28, difficulty=0.5 if FAST else 1.0)
tc.manual_seed(0)
net = tc.models.lenet5(width=0.5 if FAST else 1.0)
fit(net, train, test, 5, 0.02, 32, title="LeNet-5")
weights = prune.weights_of(net)


def accuracy():
    return 100 * evaluate(net, DataLoader(test, 256)).accuracy


def state():
    return {name: array.copy() for name, array in net.state_dict().items()}


trained, before, at_once, retrained, states = state(), accuracy(), {}, {}, {}
for keep in (1, 0.5, 0.3, 0.2, 0.12, 0.08, 0.05, 0.03, 0.02, 0.01):
    prune.apply(net, prune.masks(net, keep, "global"))
    at_once[keep] = accuracy()
    net.load_state_dict(trained)
for keep in (0.08, 0.01) if FAST else (0.08, 0.03, 0.01):
    fit(net, train, test, 2, 0.02, 32, callbacks=[prune.Pruning(keep, "global", every=2)], title=f"{keep:.0%} kept")
    retrained[keep], states[keep] = accuracy(), state()

figure, axes = plotting.panels(8, 3.4)
for series, (name, found) in enumerate({"at once": at_once, "while it trains on": {1: before, **retrained}}.items()):
    plotting.curve(axes, 100 * np.array(list(found)), list(found.values()), name, series)
    print(f"{name}:", ", ".join(f"{keep:.0%} kept {value:.1f} %" for keep, value in found.items()))
axes.set(xlabel="weights kept (%)", ylabel="test accuracy (%)", xscale="log", ylim=(0, 102))
axes.xaxis.set_major_formatter("{x:g}")
axes.legend()
show(figure, "Accuracy as weights go: from the trained net at once, and while it trains on.")

# %% [markdown]
# ## Share
#
# If a weight is one of $k$ values, an index of $\log_2 k$ bits is enough. Equation 1: $n$ weights of $b$ bits shrink by
# $nb / (n \log_2 k + kb)$. The values are k-means centres, started evenly from the smallest weight to the largest. Then
# they are trained: a centre's gradient is the sum of its weights' gradients.
#
# > How many values does a layer need: 2, 16, 256? Will values at equal distances do as well?

# %%
methods, tuned, every = {"k-means": (share, 1), "equal distances": (quantize, 2)}, {}, 2 if FAST else 1


def shared(method, bits):
    net.load_state_dict(states[0.08])
    for weight in weights.values():
        weight.data[...] = method(weight.data, bits)
    return accuracy()


curves = {name: {n: shared(method, n) for n in range(least, 9, every)} for name, (method, least) in methods.items()}
for bits in (1, 2, 5):
    shared(share, bits)
    sharing = Sharing(net)
    tuned[bits] = fit(net, train, test, 2, 1e-4, 32, parameters=sharing.parameters(), callbacks=[sharing]).history
    curves.setdefault("k-means, trained", {})[bits] = accuracy()

layer = max(weights, key=lambda name: weights[name].size)
figure, (left, right) = plotting.panels(10, 3.4, 2)
centres, _, errors = kmeans(kept := states[0.08][layer][states[0.08][layer] != 0], 16)
left.hist(kept, 80, color=plotting.BLUE, alpha=0.6)
for height, places in ((0.08, np.linspace(kept.min(), kept.max(), 16)), (0.02, centres)):
    left.plot(places, [height] * 16, "|k", markersize=10, transform=left.get_xaxis_transform())
left.set(xlabel=f"{layer}: 16 centres, first (above) and last", ylabel="weights")
for series, (name, found) in enumerate(curves.items()):
    plotting.curve(right, list(found), list(found.values()), name, series)
right.set(xlabel="bits of a weight", ylabel="test accuracy (%)", ylim=(0, 102))
right.legend()
show(
    figure, "Left: centres move to where weights are; in the gap are none. Right: accuracy with few values in a layer."
)

# %% [markdown]
# ## Huffman's words, and the file
#
# Some values are frequent, and so are some runs of zeros between the weights that stay. A Huffman code has words whose
# length is on average between the entropy $-\sum p \log_2 p$ and one bit more.
#
# > A value has 5 bits, and a run, up to 31, too. How many will they take in words of different lengths? How many times
# > smaller will each stage make the file?

# %%
flat, words = net.state_dict()[layer].reshape(-1), {}
runs, values = np.diff(np.flatnonzero(flat)) - 1, np.unique(flat[flat != 0], return_inverse=True)[1]
for name, symbols in (("value", values), ("run", np.minimum(runs, 31))):
    counts = np.bincount(symbols)
    words[name] = huffman.entropy(counts), counts @ huffman.word_lengths(counts).astype(int) / counts.sum()
    print(f"{name:5} entropy {words[name][0]:.2f} bits, words of {words[name][1]:.2f} bits on average")

path = Path("runs", "lessons", "15_compression", "lenet5.tcz")
path.parent.mkdir(parents=True, exist_ok=True)
final = {name: array.astype(np.float16).astype(np.float32) for name, array in state().items()}
equal = container.encode(final, huffman_coded=False)  # words of equal length
sizes = {"float32": sum(a.nbytes for a in trained.values()), "pruned": len(container.encode(states[0.08]))}
sizes |= {"shared": len(equal), "Huffman coded": container.save(path, final)}
(taken,) = (entry.bytes - entry.run_bytes for entry in container.entries(equal) if entry.name == layer)
print(f"sharing in {layer}: 1/{4 * len(kept) / taken:.2f}, by equation 1 1/{rate(len(kept), 32):.2f}")
for name, size in sizes.items():
    print(f"{name:14}{size:10,} bytes  1/{sizes['float32'] / size:.1f}")
net.load_state_dict(back := container.load(path))
after = accuracy()
print(f"accuracy {before:.1f} % before, {after:.1f} % from the file")

# %% [markdown]
# ## What 1/510 takes
#
# > AlexNet's 243.9 MB over 510 are 478 kB. SqueezeNet's table 1 keeps 421,098 parameters, a third. How many bits may
# > each take, its place included? Here normal random numbers in SqueezeNet's shape are pruned, rounded to values at
# > equal distances, and coded. Which shares and which bits are enough?

# %%
print(f"{8 * alexnet / 510 / 421098:.2f} bits for each; 6 and 3 for the place make {9 * 421098 / 8e6:.2f} MB")
squeezenet, rng = tc.models.squeezenet1_0(), np.random.default_rng(0)
normal = {name: rng.normal(size=array.shape) for name, array in squeezenet.state_dict().items()}
shares, ratios, (figure, axes) = (0.2, 0.337) if FAST else (0.1, 0.2, 0.337, 0.5, 0.7), {}, plotting.panels(8, 3.4)
for series, bits in enumerate((6,) if FAST else (4, 6, 8)):
    for keep in shares:
        squeezenet.load_state_dict(normal)
        prune.apply(squeezenet, prune.masks(squeezenet, keep))
        for weight in prune.weights_of(squeezenet).values():
            weight.data[...] = quantize(weight.data, bits)
        ratios[bits, keep] = alexnet / len(container.encode(squeezenet.state_dict()))
    print(f"{bits} bits:", ", ".join(f"{keep:.1%} kept 1/{ratios[bits, keep]:.0f}" for keep in shares))
    plotting.curve(axes, 100 * np.array(shares), [ratios[bits, keep] for keep in shares], f"{bits} bits", series)
axes.axhline(510, color="black", linewidth=1)
axes.set(xlabel="weights kept (%); the paper kept 33.7", ylabel="times smaller than AlexNet")
axes.legend()
show(figure, "Which pruning and which bits bring SqueezeNet to 1/510 of AlexNet (the line), in bytes of real files.")

# %%
check("60,965,224 parameters are 48.83 times 1,248,424", round(fewer, 2) == 48.83)
check("8 % of the weights do as well, to two points", retrained[0.08] >= before - 2)
check("the error of k-means never rises", all(np.diff(errors) <= 0))
check("the loss falls while two values for a layer train", tuned[1][-1]["train_loss"] < tuned[1][0]["train_loss"])
check("Huffman's words are less than a bit above the entropy", all(e <= w < e + 1 for e, w in words.values()))
check("every bit comes back from the file", all(back[name].tobytes() == final[name].tobytes() for name in final))
check("it is 30 times smaller", sizes["float32"] > 30 * sizes["Huffman coded"])
check("and it does as well, to two points", after >= before - 2)
check("a third of the weights with 6 bits are less than 1/510 of AlexNet", ratios[6, 0.337] > 510)

# %% [markdown]
# Most of it is pruning, sharing adds more, and Huffman's words a little for nothing. LeNet-5 is far larger than glyphs
# need; they do not show how far a net on ImageNet can be pruned. `tinycnn compress` does all of this to a net of yours.
#
# ## Exercises
#
# 1. Prune with `"layer"` in place of `"global"`. Which layer suffers, and what does it cost at 1 %?
# 2. Flip one bit of the file and load it. What does the reader say? Find a bit whose change it does not notice.
# 3. Store places as one bit for each weight in place of runs. Above which share is that smaller?
