"""Sums and maxima over the threads of a block, by a tree in shared memory: the same bits in every run.

With four threads that hold a b c d, a sum takes two steps of half as many additions each::

    a      b      c    d
    a+c    b+d
    a+c+b+d

A block has a power of two of threads, at most ``THREADS``.
"""

from __future__ import annotations

from tinycnn.kernels.cuda.machine.launch import device_function
from tinycnn.kernels.cuda.machine.target import THREADS, cuda


def threads_for(length: int) -> int:
    """How many threads of a block can do with ``length`` elements."""
    return min(THREADS, 1 << max(length - 1, 0).bit_length())


@device_function
def block_sum(value, shared):
    """The sum of the values of all threads of a block, for each of them; ``shared`` has room for one of each."""
    thread = cuda.threadIdx.x
    shared[thread] = value
    cuda.syncthreads()
    half = cuda.blockDim.x // 2
    while half > 0:
        if thread < half:
            shared[thread] += shared[thread + half]
        cuda.syncthreads()
        half //= 2
    total = shared[0]
    cuda.syncthreads()  # all have read before anybody writes again
    return total


@device_function
def block_max(value, shared):
    """The largest of the values of all threads of a block, as :func:`block_sum`."""
    thread = cuda.threadIdx.x
    shared[thread] = value
    cuda.syncthreads()
    half = cuda.blockDim.x // 2
    while half > 0:
        if thread < half:
            shared[thread] = max(shared[thread], shared[thread + half])
        cuda.syncthreads()
        half //= 2
    largest = shared[0]
    cuda.syncthreads()
    return largest
