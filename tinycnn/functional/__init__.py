"""The functional API: PyTorch's names, arguments and defaults; arguments are checked here, before any kernel runs.

Images are (N, C, H, W). A size given as one int stands for both height and width.
"""

from tinycnn.functional import activations, linear_maps, losses, normalization, pooling
from tinycnn.functional.activations import *
from tinycnn.functional.linear_maps import *
from tinycnn.functional.losses import *
from tinycnn.functional.normalization import *
from tinycnn.functional.pooling import *
from tinycnn.tensor_functions import pad as pad

__all__ = ["pad"]
__all__ += activations.__all__
__all__ += linear_maps.__all__
__all__ += losses.__all__
__all__ += normalization.__all__
__all__ += pooling.__all__


def __dir__() -> list[str]:
    return sorted(__all__)
