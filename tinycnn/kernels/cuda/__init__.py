"""Kernels for a GPU, in Python with numba.cuda. Names, signatures and docstrings: :mod:`tinycnn.kernels.protocol`.

A docstring here says only what is particular to the GPU.

Each file stands beside its twin in :mod:`tinycnn.kernels.cpu`. Images lie in memory as their shape says, (N, C, H, W),
so that neighbouring threads, which take neighbouring outputs, read neighbouring numbers.
"""
