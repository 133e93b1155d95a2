"""Numba kernels for the CPU. Names and signatures: :mod:`tinycnn.kernels.protocol`."""
