# %% [markdown] seconds=30
# # 16 · Why small models travel
#
# Four machines could train one net four times as fast: each takes a quarter of every batch. Each has a copy of the
# weights, and after each backward pass all need the same thing: the sum of their gradients. A gradient is as large as
# the weights. So a net's size is what travels, in every step of a training. Here the machines are processes on this
# one: real ones, that share no memory and talk through sockets.

# %%
import time

import numpy as np

import tinycnn as tc
from tinycnn import distributed, nn, plotting
from tinycnn import functional as F
from tinycnn.distributed import GradientSum, Link, Work, ring_bytes, step_time, synchronize_batch_norm
from tinycnn.lesson import FAST, check, show

# %% [markdown]
# ## A ring
#
# The plain way to a sum: all send their array to one process, which adds, and sends the sum back. That one has to
# receive and send N - 1 arrays. A ring needs no chief. Cut the array into N chunks. In each step, a process sends one
# chunk to its right and receives one from its left: for N - 1 steps it adds what comes (*reduce-scatter*), for another
# N - 1 it keeps what comes (*all-gather*).
#
# > How many bytes does each process send in all? What becomes of that number when N grows?


# %%
def ring(array, rank, size, exchange):
    """Sum an array over all processes, in place; return its values after each step."""
    chunks, seen = np.array_split(array, size), [array.copy()]
    for step in range(2 * (size - 1)):
        out, into = chunks[(rank - step) % size], chunks[(rank - step - 1) % size]
        received = np.empty_like(into)
        exchange(out, received)  # to the right, from the left
        into[:] = into + received if step < size - 1 else received
        seen.append(array.copy())
    return seen


def work(communicator):
    """Run on each process: sum ones, to see which rank has which sums, and random numbers."""
    rank, size, exchange = communicator.rank, communicator.size, communicator.exchange
    ones = ring(np.ones(size, int), rank, size, exchange)
    before = communicator.sent
    numbers = ring(np.random.default_rng(rank).normal(size=12000), rank, size, exchange)
    return ones, numbers[-1], communicator.sent - before


ones, sums, sent = zip(*distributed.run(work, 4))
expected = sum(np.random.default_rng(rank).normal(size=12000) for rank in range(4))
print(f"an array of {8 * 12000:,} bytes: each process has sent", *(f"{count:,}" for count in sent))

figure, grid = plotting.panels(11, 2.2, 7)
for step, axes in enumerate(grid):
    axes.imshow([states[step] for states in ones], cmap="Blues", vmin=0, vmax=5)
    for (row, column), count in np.ndenumerate([states[step] for states in ones]):
        axes.text(column, row, count, ha="center", va="center", color="white" if count > 2 else "black")
    axes.set(title=f"step {step}" if step else "before", xticks=range(4), yticks=range(4), xlabel="chunk")
    axes.grid(visible=False)
grid[0].set_ylabel("process")
show(figure, "How many processes are in each chunk's sum. After three steps of adding and three of copying, all four.")

# %% [markdown]
# ## The gradients of one process
#
# The loss of the joined batch is a mean over its N images. A process with n of them has a part of that loss, n / N
# times its own mean; and the gradient of a sum is the sum of the gradients. So several processes compute what one does.
#
# > Is that true of every layer? Which one looks at more than one image at a time?

# %%
IMAGES, LABELS = np.random.default_rng(0).normal(size=(12, 1, 10, 10)), np.arange(12) % 10


def gradients(communicator, norm, joined):
    """Return all gradients of a small net in float64 on twelve images, of which this process has a part."""
    tc.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3, bias=False), *([nn.BatchNorm2d(8)] if norm else []), nn.ReLU(), nn.Flatten()]
    net = nn.Sequential(*layers, nn.Linear(8 * 64, 10)).to(np.float64)
    synchronize_batch_norm(net, communicator if joined else None)
    mine = np.array_split(np.arange(12), communicator.size)[communicator.rank]
    with GradientSum(net.parameters(), communicator) as total:  # starts a sum as soon as the gradients are known
        F.cross_entropy(net(tc.Tensor(IMAGES[mine])), LABELS[mine]).backward(len(mine) / 12)
        total.finish()
    return np.concatenate([parameter.grad.ravel() for parameter in net.parameters()])


def three(communicator):
    return [gradients(communicator, norm, joined) for norm, joined in ((False, False), (True, False), (True, True))]


alone, gaps = three(distributed.ALONE), {}
print("largest difference from one process's gradients, as a share of the largest of them")
print("processes   no batch norm   batch norm, each its own   batch norm, joined")
for ranks in (2,) if FAST else (2, 4):
    gaps[ranks] = [np.abs(a - b).max() / np.abs(a).max() for a, b in zip(alone, distributed.run(three, ranks)[0])]
    print(f"{ranks:9} {gaps[ranks][0]:15.0e} {gaps[ranks][1]:26.2f} {gaps[ranks][2]:20.0e}")

# %% [markdown]
# Batch norm ties images together: in parts of a batch, each process normalises by its own images. That is another
# function, not a rounding error. It costs no messages, and often trains as well.
#
# ## Four nets, and the wire
#
# > AlexNet has 61 million parameters, SqueezeNet 1.2 million, and they are about as accurate. With four machines and an
# > ordinary network of 1 Gb/s: how long does a step wait for gradients, if nothing else happens meanwhile?

# %%
NETS = {"AlexNet": "alexnet_2012", "VGG-16": "vgg16", "ResNet-50": "resnet50", "SqueezeNet": "squeezenet1_0"}
PARAMETERS = [60965224, 138357544, 25557032, 1248424]  # counted in lessons 06, 07 and 14


def clock(communicator, size):
    """Return the seconds of an all-reduce of so many numbers: the faster of two."""
    array, seconds = np.zeros(size, np.float32), []
    for _ in range(2):
        communicator.barrier()
        start = time.perf_counter()
        communicator.allreduce(array).wait()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


sizes = [count // 64 for count in PARAMETERS] if FAST else PARAMETERS
here = distributed.run(lambda communicator: [clock(communicator, size) for size in sizes], 4)[0]
megabytes = [ring_bytes(4, 4 * count) / 1e6 for count in PARAMETERS]
gigabit = [count * 8 / 1000 for count in megabytes]
print(f"four processes   parameters    each sends   at 1 Gb/s   here{' (1/64 of it)' if FAST else ''}")
for name, *row in zip(NETS, PARAMETERS, megabytes, gigabit, here):
    print("{:14} {:12,} {:10.1f} MB {:9.3f} s {:8.3f} s".format(name, *row))

figure, axes = plotting.panels(7, 3.4)
axes.loglog(megabytes, gigabit, "--s", color=plotting.ORANGE, label="at 1 Gb/s")
axes.loglog([ring_bytes(4, 4 * size) / 1e6 for size in sizes], here, "o", color=plotting.BLUE, label="measured here")
for name, *place in zip(NETS, megabytes, gigabit):
    axes.annotate(name, place, (-8, 3), textcoords="offset points", ha="right", fontsize=9)
axes.set(xlabel="sent by each of four processes (MB)", ylabel="all-reduce (s)")
axes.legend(loc="lower right")
show(figure, "What a step waits for grows with the net's size, and with nothing else of it.")

# %% [markdown]
# ## A plan for a thousand machines
#
# Backward knows the last layer's gradient first, and can send it while it computes the others. `step_time` plays this
# through: gradients become known one after another, and queue for the wire. The machines do $10^{12}$ multiply-adds a
# second, have 32 images each, and are on 10 Gb/s.
#
# > Which of the four nets keeps 1,024 machines least busy: the one with the most parameters, or another?

# %%
nodes, busy = [2**power for power in range(11)], {}
figure, axes = plotting.panels(7, 3.4)
for series, (name, net) in enumerate(NETS.items()):
    table = tc.summary(tc.models.build(net, width=0.25 if FAST else 1.0))
    forward = 32 * table.multiply_adds / 1e12
    job = Work.of(table, forward, 2 * forward)  # backward computes two gradients where forward computes one output
    steps = [step_time(job, count, Link(bandwidth=10e9 / 8, latency=20e-6)) for count in nodes]
    busy[name] = [100 * steps[0] / step for step in steps]
    plotting.curve(axes, nodes, busy[name], name, series)
    print(f"{name:10} a step takes {steps[0]:.3f} s on one machine, {steps[-1]:.3f} s on {nodes[-1]:,}")
axes.set_xscale("log", base=2)
axes.set(xlabel="machines", ylabel="time spent computing (%)", ylim=(0, 105), xticks=nodes[::2], xticklabels=nodes[::2])
axes.legend()
show(figure, "Planned: how much of a step the machines compute, from one machine to 1,024.")

# %%
check("every process has the same sum, to the bit", len({numbers.tobytes() for numbers in sums}) == 1)
check("it is the sum of all", np.allclose(sums[0], expected, rtol=0, atol=1e-12))
check("each process sent 2 (N - 1) / N of the array", set(sent) == {ring_bytes(4, 8 * 12000)})
check("without batch norm the gradients are one process's, to 1e-12", max(gap[0] for gap in gaps.values()) < 1e-12)
check("batch norm of each its own is another function", min(gap[1] for gap in gaps.values()) > 0.01)
check("joined, it is the same again, to 1e-12", max(gap[2] for gap in gaps.values()) < 1e-12)
check("each of four sends 365.8, 830.1, 153.3 or 7.5 MB", np.allclose(megabytes, [365.8, 830.1, 153.3, 7.5], atol=0.05))
check("at 1 Gb/s in 2.93, 6.64, 1.23 and 0.06 s", np.allclose(gigabit, [2.93, 6.64, 1.23, 0.06], atol=0.005))
check("AlexNet sends 48.8 times as much as SqueezeNet", round(megabytes[0] / megabytes[3], 1) == 48.8)
check("AlexNet keeps 1,024 machines least busy", min(busy, key=lambda name: busy[name][-1]) == "AlexNet")

# %% [markdown]
# What counts is bytes for each multiply-add. AlexNet's connected layers use a weight once for an image, so its machines
# wait. VGG-16 sends more than twice as much, but computes so long that most of it is hidden. And
# `mpiexec -n 4 tinycnn train` trains this way, on one machine or many: the same images, gradients and loss.
#
# ## Exercises
#
# 1. Send gradients as float16: convert before `allreduce` in `clock`, and back after it. What becomes of bytes and
#    time? What would become of 1e-12?
# 2. Give all machines together 32 images. Up to how many machines does a step of each net become faster?
# 3. Write the plain way: process 0 adds, the others pass arrays on with `exchange`. How many bytes does each send?
