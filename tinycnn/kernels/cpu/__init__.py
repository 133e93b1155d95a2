"""Numba kernels for the CPU. Names and signatures: :mod:`tinycnn.kernels.protocol`.

A file for each family of operations; ``conv/`` holds the convolutions, and ``machine/`` the threads, the memory and the
vector code that all of them use.
"""
