"""Number formats of weights files: those that NumPy has, and those that are widened to float32 when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from tinycnn.errors import WeightsError


class Float8(NamedTuple):
    """A format of 8-bit floating-point numbers: a sign, ``exponent`` bits, the rest a fraction.

    ``ieee`` formats have infinities and NaNs at the highest exponent; "fn" formats have NaN only where all other bits
    are ones; "fnuz" formats have one NaN, in the place of -0.
    """

    exponent: int
    bias: int
    kind: str


WIDENED = {
    "bfloat16": "<u2",
    "float8_e4m3fn": "u1",
    "float8_e5m2": "u1",
    "float8_e4m3fnuz": "u1",
    "float8_e5m2fnuz": "u1",
    "float8_e8m0fnu": "u1",
}
"""PyTorch's names of formats that NumPy lacks, and the unsigned integers that hold their bits."""
_FLOAT8 = {
    "float8_e4m3fn": Float8(4, 7, "fn"),
    "float8_e5m2": Float8(5, 15, "ieee"),
    "float8_e4m3fnuz": Float8(4, 8, "fnuz"),
    "float8_e5m2fnuz": Float8(5, 16, "fnuz"),
}


def itemsize(dtype: str) -> int:
    """Return the bytes of one stored element of a NumPy dtype or a format in ``WIDENED``."""
    return np.dtype(WIDENED.get(dtype, dtype)).itemsize


def decode(data: np.ndarray, dtype: str, big_endian: bool = False) -> np.ndarray:
    """Return stored bytes (n,) of uint8 as elements in native order; formats in ``WIDENED`` become float32."""
    stored = np.dtype(WIDENED.get(dtype, dtype)).newbyteorder(">" if big_endian else "<")
    flat = data.view(stored).astype(stored.newbyteorder("="), copy=False)
    if dtype == "bfloat16":
        wide = flat.astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    return _float8_values(dtype)[flat] if dtype in WIDENED else flat


@cache
def _float8_values(dtype: str) -> np.ndarray:
    """Return the values (256,) of all 8-bit patterns (Micikevicius et al. 2022, https://arxiv.org/abs/2209.05433)."""
    bits = np.arange(256)
    if dtype == "float8_e8m0fnu":
        values = np.ldexp(1.0, bits - 127)
        values[255] = np.nan
        return values.astype(np.float32)
    exponent_bits, bias, kind = _FLOAT8[dtype]
    fraction_bits = 7 - exponent_bits
    exponent = bits >> fraction_bits & 2**exponent_bits - 1
    fraction = (bits & 2**fraction_bits - 1) / 2**fraction_bits
    values = np.where(exponent > 0, 1 + fraction, 2 * fraction) * np.ldexp(1.0, exponent - bias)
    if kind == "ieee":
        values[exponent == 2**exponent_bits - 1] = np.nan
        values[(exponent == 2**exponent_bits - 1) & (fraction == 0)] = np.inf
    elif kind == "fn":
        values[bits & 127 == 127] = np.nan
    values = np.where(bits >= 128, -values, values)
    if kind == "fnuz":
        values[128] = np.nan
    return values.astype(np.float32)


def host_arrays(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the values of a mapping as NumPy arrays, without their gradients.

    Raises
    ------
    WeightsError
        If a name is not text, or a value not an array.
    """
    if not isinstance(arrays, Mapping):
        raise WeightsError(f"arrays is a {type(arrays).__name__}, expected a mapping of names to arrays")
    found = {}
    for name, value in arrays.items():
        if not isinstance(name, str):
            raise WeightsError(f"the name {name!r} is a {type(name).__name__}, expected text")
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise WeightsError(f"the name {name!r} is not valid Unicode text") from error
        try:
            found[name] = np.asarray(value.detach() if hasattr(value, "detach") else value)
        except Exception as error:
            raise WeightsError(f"{name!r} is a {type(value).__name__}, expected an array: {error}") from error
    return found
