"""The matrix product C (M, N) = A (M, K) B (K, N) in four ways, from the plainest to the fastest.

=========  ==========================================================================================================
naive      Thread = element of C: it reads a row of A and a column of B from memory, 2 K numbers for K multiplications.
tiled      Block = square tile of C: its threads copy a tile of A and one of B to shared memory, and each number is
           read from memory once for ``TILE`` uses.
registers  Block = tile of C, thread = several rows by several columns of it, which it keeps in registers: each number
           is read from shared memory once for ``PER_THREAD`` uses. The default.
cublas     NVIDIA's library.
=========  ==========================================================================================================

All multiply many matrices at once: A (images, groups, M, K) and B (images, groups, K, N) are views that may be
transposed or repeated, and products of ``steps`` images in turn may be added up, as the gradient of a convolution's
weight asks for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinycnn.choice import Choice
from tinycnn.kernels.cuda.array import DeviceArray, empty
from tinycnn.kernels.cuda.machine.launch import kernel, launch_grid
from tinycnn.kernels.cuda.machine.target import SIMULATED, cuda, num_sms
from tinycnn.kernels.cuda.machine.views import cut, library_matmul, window

TILE = 2 if SIMULATED else 16
BLOCK, BLOCK_K, PER_THREAD = (4, 4, 2) if SIMULATED else (64, 8, 4)
SIDE = BLOCK // PER_THREAD  # threads along each side of a block
MOST_BLOCKS = 2**15

ALGORITHMS = ("naive", "tiled", "registers", "cublas")


class matmul_algorithm(Choice, default="registers"):
    """Choose how matrix products, and convolutions made of them, are computed on the GPU inside a ``with`` block.

    Parameters
    ----------
    name : {"registers", "tiled", "naive", "cublas"}

    Raises
    ------
    ValueError
        If there is no such algorithm.
    """

    def __init__(self, name: str) -> None:
        if name not in ALGORITHMS:
            raise ValueError(f"matmul_algorithm: name is {name!r}, expected one of: {', '.join(ALGORITHMS)}")
        super().__init__(name)


def matmul(a: DeviceArray, b: DeviceArray) -> DeviceArray:
    """Cut K into pieces where the result has few tiles; add the pieces' products at the end."""
    pieces = 1 if matmul_algorithm.current() == "cublas" else _pieces(a.shape[0], b.shape[1], a.shape[1])
    out = multiply(cut(a, 1, pieces).transpose(1, 0, 2)[:, None], cut(b, 0, pieces)[:, None])
    return out[0, 0] if pieces == 1 else out.sum(axis=0)[0]


def _pieces(rows: int, columns: int, depth: int) -> int:
    """How many pieces of K give the GPU's processors work, each long enough."""
    blocks = -(-rows // BLOCK) * -(-columns // BLOCK)
    for pieces in (8, 4, 2):
        if depth % pieces == 0 and depth // pieces >= 8 * BLOCK_K and blocks * pieces <= 4 * num_sms():
            return pieces
    return 1


def multiply(a: DeviceArray, b: DeviceArray, steps: int = 1, out: DeviceArray | None = None) -> DeviceArray:
    """A (images, groups, M, K) times B (images, groups, K, N).

    Returns
    -------
    array (ceil(images / steps), groups, M, N)
        Each the sum of the products of ``steps`` images in turn; it lies in ``out``, if given, which is contiguous.
    """
    images, groups, rows, depth = a.shape
    columns = b.shape[3]
    shape = -(-images // steps), groups, rows, columns
    out = empty(shape, np.result_type(a.dtype, b.dtype)) if out is None else out.reshape(shape)
    if not out.size or not depth:
        out.fill(0)
        return out
    algorithm = matmul_algorithm.current()
    if algorithm == "cublas":
        if steps == 1:
            return library_matmul(a, b, out)
        for i in range(len(out)):
            out[i] = library_matmul(a[i * steps : (i + 1) * steps], b[i * steps : (i + 1) * steps]).sum(axis=0)
        return out
    function = {"naive": naive_kernel, "tiled": tiled_kernel, "registers": registers_kernel}[algorithm]
    tile, threads = (BLOCK, (SIDE * SIDE,)) if algorithm == "registers" else (TILE, (TILE, TILE))
    grid = (-(-columns // tile), -(-rows // tile), min(len(out) * groups, MOST_BLOCKS))
    sizes = rows, columns, depth, images, groups, steps
    launch_grid(function, grid, threads, *_flat(a, out.dtype), *_flat(b, out.dtype), *sizes, out.reshape(-1))
    return out


def _flat(x: DeviceArray, dtype: Any) -> tuple[Any, ...]:
    """A view as a kernel's arguments: flat memory, and the steps from image to image, group, row and column."""
    x = x.astype(dtype, copy=False)
    return window(x)[0], *(stride // x.itemsize for stride in x.strides)


# -- kernels -----------------------------------------------------------------------------------------------------------


@kernel
def naive_kernel(a, a0, a1, a2, a3, b, b0, b1, b2, b3, rows, columns, depth, images, groups, steps, out):
    """Thread = element of C."""
    column, row = cuda.grid(2)
    if row < rows and column < columns:
        for z in range(cuda.blockIdx.z, out.size // (rows * columns), cuda.gridDim.z):
            group, first = z % groups, z // groups * steps
            total = out.dtype.type(0)
            for image in range(first, min(first + steps, images)):
                at_a = image * a0 + group * a1 + row * a2
                at_b = image * b0 + group * b1 + column * b3
                for k in range(depth):
                    total += a[at_a + k * a3] * b[at_b + k * b2]
            out[(z * rows + row) * columns + column] = total


@kernel
def tiled_kernel(a, a0, a1, a2, a3, b, b0, b1, b2, b3, rows, columns, depth, images, groups, steps, out):
    """Block = tile of C, thread = element of it. Tiles of A and B pass through shared memory."""
    a_tile = cuda.shared.array((TILE, TILE), out.dtype)
    b_tile = cuda.shared.array((TILE, TILE), out.dtype)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    row = cuda.blockIdx.y * TILE + y
    column = cuda.blockIdx.x * TILE + x
    zero = out.dtype.type(0)
    for z in range(cuda.blockIdx.z, out.size // (rows * columns), cuda.gridDim.z):
        group, first = z % groups, z // groups * steps
        total = zero
        for image in range(first, min(first + steps, images)):
            at_a = image * a0 + group * a1 + row * a2
            at_b = image * b0 + group * b1 + column * b3
            for k in range(0, depth, TILE):
                a_tile[y, x] = a[at_a + (k + x) * a3] if row < rows and k + x < depth else zero
                b_tile[y, x] = b[at_b + (k + y) * b2] if column < columns and k + y < depth else zero
                cuda.syncthreads()
                for i in range(TILE):
                    total += a_tile[y, i] * b_tile[i, x]
                cuda.syncthreads()
        if row < rows and column < columns:
            out[(z * rows + row) * columns + column] = total


@kernel
def registers_kernel(a, a0, a1, a2, a3, b, b0, b1, b2, b3, rows, columns, depth, images, groups, steps, out):
    """Block = tile of C, thread = PER_THREAD x PER_THREAD elements of it, SIDE apart.

    So neighbouring threads write neighbours. The tiles of A and B lie in shared memory K first; threads load them along
    the dimension that is contiguous in memory.
    """
    a_tile = cuda.shared.array((BLOCK_K, BLOCK), out.dtype)
    b_tile = cuda.shared.array((BLOCK_K, BLOCK), out.dtype)
    sums = cuda.local.array((PER_THREAD, PER_THREAD), out.dtype)
    some_a = cuda.local.array(PER_THREAD, out.dtype)
    some_b = cuda.local.array(PER_THREAD, out.dtype)
    thread = cuda.threadIdx.x
    y, x = thread // SIDE, thread % SIDE
    top, left = cuda.blockIdx.y * BLOCK, cuda.blockIdx.x * BLOCK
    zero = out.dtype.type(0)
    for z in range(cuda.blockIdx.z, out.size // (rows * columns), cuda.gridDim.z):
        group, first = z % groups, z // groups * steps
        for i in range(PER_THREAD):
            for j in range(PER_THREAD):
                sums[i, j] = zero
        for image in range(first, min(first + steps, images)):
            at_a, at_b = image * a0 + group * a1, image * b0 + group * b1
            for start in range(0, depth, BLOCK_K):
                for t in range(thread, BLOCK * BLOCK_K, SIDE * SIDE):
                    k, m = t // BLOCK, t % BLOCK
                    if a3 == 1:
                        k, m = t % BLOCK_K, t // BLOCK_K
                    inside = top + m < rows and start + k < depth
                    a_tile[k, m] = a[at_a + (top + m) * a2 + (start + k) * a3] if inside else zero
                for t in range(thread, BLOCK * BLOCK_K, SIDE * SIDE):
                    k, n = t // BLOCK, t % BLOCK
                    if b2 == 1:
                        k, n = t % BLOCK_K, t // BLOCK_K
                    inside = left + n < columns and start + k < depth
                    b_tile[k, n] = b[at_b + (start + k) * b2 + (left + n) * b3] if inside else zero
                cuda.syncthreads()
                for k in range(BLOCK_K):
                    for i in range(PER_THREAD):
                        some_a[i] = a_tile[k, y + i * SIDE]
                        some_b[i] = b_tile[k, x + i * SIDE]
                    for i in range(PER_THREAD):
                        for j in range(PER_THREAD):
                            sums[i, j] += some_a[i] * some_b[j]
                cuda.syncthreads()
        for i in range(PER_THREAD):
            for j in range(PER_THREAD):
                row, column = top + y + i * SIDE, left + x + j * SIDE
                if row < rows and column < columns:
                    out[(z * rows + row) * columns + column] = sums[i, j]
