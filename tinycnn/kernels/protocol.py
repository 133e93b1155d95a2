"""The names that a device must offer: file by file, function by function.

Operations reach kernels as ``self.kernels.conv2d(...)``; ``self.kernels`` are those of the input's device.
Each device package holds the files named here with the same functions and the same signatures.
"""

from __future__ import annotations

PROTOCOL: dict[str, tuple[str, ...]] = {
    "memory": ("empty", "is_array", "as_array", "memory_of", "is_alone", "sent_ahead", "read_later"),
    "layout": ("channels_last", "join_channels", "assign"),
    "elementwise": ("add",),
    "gemm": ("matmul",),
    "im2col": ("im2col", "col2im"),
    "convolution": ("conv2d", "conv2d_backward_input", "conv2d_backward_weight", "conv2d_backward_bias"),
    "pooling": (
        "max_pool2d",
        "max_pool2d_backward",
        "avg_pool2d",
        "avg_pool2d_backward",
        "adaptive_avg_pool2d",
        "adaptive_avg_pool2d_backward",
    ),
    "activation": (
        "relu",
        "relu_backward",
        "leaky_relu",
        "leaky_relu_backward",
        "sigmoid",
        "sigmoid_backward",
        "tanh",
        "tanh_backward",
    ),
    "softmax": (
        "softmax",
        "softmax_backward",
        "log_softmax",
        "log_softmax_backward",
        "cross_entropy",
        "cross_entropy_backward",
    ),
    "dropout": ("dropout",),
    "normalization": (
        "batch_norm_statistics",
        "track_statistics",
        "inverse_std",
        "batch_norm",
        "batch_norm_backward",
        "batch_norm_gradient_sums",
        "batch_norm_backward_input",
        "batch_norm_eval_backward",
        "local_response_norm",
        "local_response_norm_backward",
    ),
    "optimizer": ("sgd_update", "adam_update"),
}

MODULE_ON_CPU = {"memory": "machine.allocator", "layout": "machine.nhwc", "gemm": "matmul", "convolution": "conv"}
"""The modules of :mod:`tinycnn.kernels.cpu` that have another name."""

FILE_OF = {function: file for file, functions in PROTOCOL.items() for function in functions}
