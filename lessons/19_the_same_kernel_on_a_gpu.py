# %% [markdown] seconds=5
# # 19 · The same kernel on a GPU
#
# A processor has a few clever cores, a GPU thousands of simple ones, and one function for all: the kernel. This lesson
# writes the matrix product as a kernel, again and again. Each time fewer numbers come from memory.
#
# Without a GPU, Numba's simulator runs them as threads of Python, thousands of times slower: we count, we do not time.

# %%
from tinycnn.kernels.cuda import requirements

print(requirements.or_simulator())

# %%
import numpy as np

import tinycnn as tc
from tinycnn import functional as F
from tinycnn import nn, plotting
from tinycnn.kernels.cuda import gemm
from tinycnn.kernels.cuda.array import from_host, to_host
from tinycnn.kernels.cuda.machine.launch import kernel, launch_grid
from tinycnn.kernels.cuda.machine.target import cuda
from tinycnn.lesson import check, show

# %% [markdown]
# ## Who am I?
#
# All threads run the same lines. What differs is what they are told about themselves: the number of their block,
# `blockIdx`, and their number in it, `threadIdx`. A block has `blockDim` threads, so a thread's own number is
#
# $$i = blockIdx \cdot blockDim + threadIdx$$
#
# > Blocks of four threads square ten numbers. How many blocks? How many threads are idle, and if they did not know?


# %%
@kernel
def square(x, out, who):
    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if i < x.size:
        out[i] = x[i] * x[i]
        who[i] = cuda.blockIdx.x


x = from_host(np.arange(10, dtype=np.float32))
out, who = from_host(np.zeros(10, np.float32)), from_host(np.zeros(10, np.int64))
threads, blocks = 4, 3
launch_grid(square, blocks, threads, x, out, who)
squares, blocks_of = to_host(out), to_host(who)
print("squares  ", *(f"{value:3.0f}" for value in squares))
print("by block ", *(f"{block:3}" for block in blocks_of))
print(f"{blocks} blocks of {threads} threads; {blocks * threads - 10} threads have nothing to do")

# %% [markdown]
# The `if` is what tells them. Without it they would write behind the end of the array, and on a GPU nothing stops them.
# `from_host` copies arrays to the GPU, `to_host` back. Both are slow, so a network's arrays stay there while it trains.
#
# ## One: a thread for each element
#
# An element of $C = A B$ is a row of $A$ times a column of $B$. So give each element a thread. Blocks are squares of
# `T` by `T` threads. Each kernel here also counts how many numbers it reads from the GPU's memory.
#
# > $A$ is 8x12 and $B$ is 12x8. How many multiplications are there? How many numbers are read?

# %%
T, SIDE, DEPTH = 4, 8, 12


@kernel
def naive(a, b, c, reads):
    column, row = cuda.grid(2)
    if row < c.shape[0] and column < c.shape[1]:
        total = c.dtype.type(0)
        for k in range(a.shape[1]):
            total += a[row, k] * b[k, column]
            reads[row, column] += 2
        c[row, column] = total


rng = np.random.default_rng(0)
left, right = (rng.normal(size=shape).astype(np.float32) for shape in ((SIDE, DEPTH), (DEPTH, SIDE)))
gaps, reads_each = {}, {}


def count(name, function):
    """Run a product; return its distance from NumPy's, and how many numbers it reads for each multiplication."""
    a, b = from_host(left), from_host(right)
    c, reads = from_host(np.zeros((SIDE, SIDE), np.float32)), from_host(np.zeros((SIDE, SIDE), np.int64))
    launch_grid(function, (SIDE // T, SIDE // T), (T, T), a, b, c, reads)
    gaps[name] = np.abs(to_host(c) - left @ right).max()
    reads_each[name] = int(to_host(reads).sum()) / (SIDE * SIDE * DEPTH)
    print(f"{name}: {reads_each[name]} numbers read for each of {SIDE * SIDE * DEPTH} multiplications")


count("naive", naive)

# %% [markdown]
# Two reads for each multiplication, though every number of $A$ serves a whole row of $C$. That is where the time goes:
# a large GPU multiplies ten times and more while one number arrives.
#
# ## Two: tiles in shared memory
#
# The threads of a block have a small memory together, `cuda.shared`, as near as a cache. Let them fetch a tile of $A$
# and one of $B$ into it, each thread one number of both, then multiply the tiles. At `syncthreads` each thread waits
# for all others of its block: the first one makes sure that the tiles are complete before anybody multiplies.
#
# > What is the second `syncthreads` for? By which factor does the number of reads shrink?


# %%
@kernel
def tiled(a, b, c, reads):
    a_tile = cuda.shared.array((T, T), c.dtype)
    b_tile = cuda.shared.array((T, T), c.dtype)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.grid(2)
    total = c.dtype.type(0)
    for k in range(0, a.shape[1], T):
        a_tile[y, x] = a[row, k + x]
        b_tile[y, x] = b[k + y, column]
        reads[row, column] += 2
        cuda.syncthreads()
        for i in range(T):
            total += a_tile[y, i] * b_tile[i, x]
        cuda.syncthreads()
    c[row, column] = total


count("tiled", tiled)

# %% [markdown]
# Without the second one, a fast thread would overwrite the tile that a slow thread is still reading: a race, whose
# results change from run to run. The factor is `T`. So larger tiles? A block has at most 1,024 threads, so `T` ends at
# 32, and now each multiplication waits for two numbers from shared memory.
#
# ## Three: more than one element for each thread
#
# Nearer still are a thread's own registers. If it computes 4x4 elements, it takes 4 numbers of $A$ and 4 of $B$ there
# and makes 16 multiplications of them. So does tinycnn (`kernels/cuda/gemm.py`), with tiles of 64x64.
#
# > How many numbers come from memory for each multiplication, with tiles of 64x64? How many from shared memory?

# %%
names = ["one element a thread", "tiles of 16x16", "tiles of 64x64, 4x4 elements a thread"]
memory, shared = [2, 2 / 16, 2 / 64], [0, 2, 2 / 4]
for name, far, near in zip(names, memory, shared):
    print(f"{name:38}{far:6.3f} from memory, {near:5.3f} from shared memory for each multiplication")
figure, (place, cost) = plotting.panels(10, 3.4, 2)
block = np.arange(SIDE) // T
place.imshow(2 * block[:, None] + block, cmap="Pastel1", vmin=0, vmax=8)
for y, x in np.ndindex(2, 2):
    place.text((x + 0.5) * T - 0.5, (y + 0.5) * T - 0.5, f"block\n({x}, {y})", ha="center", va="center")
place.set(xticks=[], yticks=[], xlabel=f"C: {SIDE}x{SIDE} elements, a thread for each")
plotting.bars(cost, names, memory, "{:.3f}")
cost.set(xscale="log", xlim=(0.01, 20), xlabel="numbers from memory for each multiplication")
show(
    figure, "Left: blocks of threads over the elements of C. Right: reads from memory, each grid line a factor of ten."
)

# %% [markdown]
# ## A network does not notice
#
# Every operation has its kernel on the GPU, under the same name as on the CPU. `.to("cuda")` is all there is to do.
#
# > The CPU adds up in another order than the GPU. To how many digits will losses and gradients agree in float32?

# %%
images, labels = rng.normal(size=(2, 1, 6, 6)).astype(np.float32), np.array([0, 2])
losses, gradients = {}, {}
for device in ("cpu", "cuda"):
    tc.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3)).to(device)
    with gemm.matmul_algorithm("tiled"):
        loss = F.cross_entropy(net(tc.Tensor(images).to(device)), labels)
        loss.backward()
    losses[device] = loss.item()
    gradients[device] = tc.Tensor(net[0].weight.grad).numpy()
    print(f"{device:5} loss {losses[device]:.7f}, a gradient {gradients[device][0, 0, 0, 0]:.7f}")

# %%
check("three blocks of four threads square ten numbers", [*blocks_of] == [0] * 4 + [1] * 4 + [2] * 2)
check("both products are NumPy's to 1e-5", max(gaps.values()) < 1e-5)
check("one element a thread: two reads for each multiplication", reads_each["naive"] == 2)
check("tiles of T by T: T times fewer", reads_each["tiled"] == 2 / T)
check("the loss on both devices is the same to 1e-5", abs(losses["cpu"] - losses["cuda"]) < 1e-5)
check("so are the gradients", np.allclose(gradients["cpu"], gradients["cuda"], atol=1e-5))

# %% [markdown]
# ## Exercises
#
# 1. Let `SIDE` be no multiple of `T`. `naive` is right at once; what must `tiled` do about threads outside of $C$, and
#    why may they not just return?
# 2. Take away the second `syncthreads`. Is the product still right? Run it ten times.
# 3. Let each thread of `tiled` compute two elements, one below the other. Count reads of `b_tile`.
