"""Numba kernels for the CPU. Names, signatures and docstrings: :mod:`tinycnn.kernels.protocol`.

A docstring here gives only what is particular to these kernels.

A file for each family of operations; ``conv/`` holds the convolutions, and ``machine/`` the threads, the memory and the
vector code that all of them use.
"""
