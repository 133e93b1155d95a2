"""Numba kernels for the CPU. Names and signatures: :mod:`tinycnn.kernels.protocol`."""

from __future__ import annotations

from tinycnn.kernels.protocol import load


def __getattr__(name: str) -> object:
    kernel = load(__name__, name)
    globals()[name] = kernel
    return kernel
