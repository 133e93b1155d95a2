"""Kernels for a GPU, in Python with numba.cuda. Names, signatures and docstrings: :mod:`tinycnn.kernels.protocol`.

A docstring here gives only what is particular to the GPU.

Each file stands beside its twin in :mod:`tinycnn.kernels.cpu`. Images are stored in the order of their shape, (N, C,
H, W), so that neighbouring threads, which take neighbouring outputs, read neighbouring numbers.
"""
