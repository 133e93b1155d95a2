"""Linear quantisation: values at equal distances, as in SqueezeNet's table 2 with 8 and with 6 bits.

A value is scale * q with a whole number q from -(2**(bits - 1) - 1) to 2**(bits - 1) - 1, so that zero stays zero.
Unlike in :mod:`.share` the values depend only on the largest weight.
"""

from __future__ import annotations

import numpy as np

from tinycnn import arguments


def quantize(weights: np.ndarray, bits: int = 8) -> np.ndarray:
    """Round the weights of a layer to the nearest multiple of max |w| / (2**(bits - 1) - 1).

    Parameters
    ----------
    weights : float array
    bits : int
        2 to 8.

    Raises
    ------
    ValueError
        If ``bits`` is out of range.

    Examples
    --------
    >>> quantize(np.array([-1.0, 0.1, 0.0, 0.7]), bits=3).round(3).tolist()
    [-1.0, 0.0, 0.0, 0.667]
    """
    arguments.array("quantize", "weights", weights, "f")
    arguments.integer("quantize", "bits", bits, 2, 8)
    scale = np.abs(weights).max(initial=0) / (2 ** (bits - 1) - 1)
    return np.rint(weights / scale) * scale + 0 if scale > 0 else weights.copy()  # + 0: no minus zero
