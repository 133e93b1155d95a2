"""The functional API: PyTorch's names, arguments and defaults; arguments are checked here, before any kernel runs.

Images are (N, C, H, W). A size given as one int stands for both height and width.
"""

from tinycnn.functional.activations import dropout, leaky_relu, log_softmax, relu, sigmoid, softmax, tanh
from tinycnn.functional.linear_maps import conv2d, linear
from tinycnn.functional.losses import cross_entropy, mse_loss, nll_loss
from tinycnn.functional.normalization import batch_norm, local_response_norm
from tinycnn.functional.pooling import adaptive_avg_pool2d, avg_pool2d, global_avg_pool2d, max_pool2d
from tinycnn.tensor_functions import pad

__all__ = [
    "adaptive_avg_pool2d",
    "avg_pool2d",
    "batch_norm",
    "conv2d",
    "cross_entropy",
    "dropout",
    "global_avg_pool2d",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "log_softmax",
    "max_pool2d",
    "mse_loss",
    "nll_loss",
    "pad",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
]


def __dir__() -> list[str]:
    return __all__
