"""Messages of the functional API when arguments do not fit, word for word."""

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import functional as F
from tinycnn import nn


def t(*shape, dtype=np.float32):
    return tc.Tensor(np.zeros(shape, dtype))


MESSAGES = [
    (
        lambda: F.conv2d(t(1, 3, 8, 8), t(64, 16, 3, 3)),
        "conv2d: input has 3 channels but weight (64, 16, 3, 3) expects 16",
    ),
    (
        lambda: F.conv2d(t(1, 3, 8, 8), t(4, 2, 3, 3), groups=2),
        "conv2d: input has 3 channels but weight (4, 2, 3, 3) with groups=2 expects 4",
    ),
    (lambda: F.conv2d(t(1, 0, 8, 8), t(4, 0, 3, 3)), "conv2d: weight has shape (4, 0, 3, 3), expected at least one"),
    (lambda: F.conv2d(t(1, 3, 8, 8), t(0, 3, 3, 3)), "conv2d: weight has shape (0, 3, 3, 3), expected at least one"),
    (lambda: F.conv2d(t(3, 8, 8), t(4, 3, 3, 3)), "conv2d: input has shape (3, 8, 8), expected (N, C, H, W)"),
    (
        lambda: F.conv2d(t(1, 3, 8, 8), t(4, 3, 3)),
        "conv2d: weight has shape (4, 3, 3), expected (O, C / groups, kH, kW)",
    ),
    (
        lambda: F.conv2d(t(1, 3, 8, 8), t(4, 3, 3, 3), t(3)),
        "conv2d: bias has shape (3,) but weight (4, 3, 3, 3) expects (4,)",
    ),
    (
        lambda: F.conv2d(t(1, 3, 8, 8), t(5, 3, 3, 3), groups=2),
        "conv2d: groups is 2, expected a divisor of the 5 output channels",
    ),
    (
        lambda: F.conv2d(t(1, 3, 8, 8), t(4, 3, 3, 3), stride=0),
        "conv2d: stride is 0, expected an int of at least 1 or a pair of them",
    ),
    (
        lambda: F.conv2d(t(1, 3, 8, 8), t(4, 3, 3, 3), padding="full"),
        "conv2d: padding is 'full', expected a number, a pair of them, 'valid', or 'same' with stride 1",
    ),
    (
        lambda: F.conv2d(t(1, 3, 2, 8), t(4, 3, 3, 3)),
        "conv2d: a window of 3 does not fit into height 2 with padding 0 (input (1, 3, 2, 8), kernel (3, 3), "
        "dilation (1, 1))",
    ),
    (
        lambda: F.max_pool2d(t(1, 1, 6, 6), 2, padding=2),
        "max_pool2d: padding is (2, 2), expected at most half of kernel_size (2, 2)",
    ),
    (
        lambda: F.avg_pool2d(t(1, 1, 6, 6), (2, 2, 2)),
        "avg_pool2d: kernel_size is (2, 2, 2), expected an int of at least 1 or a pair of them",
    ),
    (
        lambda: F.adaptive_avg_pool2d(t(1, 1, 0, 6), 1),
        "adaptive_avg_pool2d: input of shape (1, 1, 0, 6) has no pixels",
    ),
    (lambda: F.linear(t(2, 3), t(4, 5)), "linear: input has shape (2, 3) but weight (4, 5) expects (..., 5)"),
    (lambda: F.softmax(t(2, 3), 2), "softmax: dim is 2, expected -2 to 1 for shape (2, 3)"),
    (lambda: F.dropout(t(2), 1.5), "dropout: p is 1.5, expected a probability from 0 to 1"),
    (
        lambda: F.batch_norm(t(2, 3, 4, 4), np.zeros(2), np.ones(2)),
        "batch_norm: running_mean has shape (2,) but input (2, 3, 4, 4) expects (3,)",
    ),
    (
        lambda: F.batch_norm(t(1, 3, 1, 1), None, None, training=True),
        "batch_norm: training needs more than one value for each channel, input has shape (1, 3, 1, 1)",
    ),
    (lambda: F.local_response_norm(t(1, 2, 3), 0), "local_response_norm: size is 0, expected at least 1"),
    (
        lambda: F.cross_entropy(t(4, 10), [0, 1, 2, 12]),
        "cross_entropy: target is 12 at index 3, expected 0 to 9 for 10 classes",
    ),
    (lambda: F.cross_entropy(t(4, 10), [0, 1]), "cross_entropy: target has shape (2,) but input (4, 10) expects (4,)"),
    (
        lambda: F.cross_entropy(t(1, 3), [0], reduction="max"),
        "cross_entropy: reduction is 'max', expected 'mean', 'sum' or 'none'",
    ),
    (lambda: F.cross_entropy(t(1, 3), [0], weight=[1, 2]), "cross_entropy: weight has shape (2,), expected (3,)"),
    (
        lambda: F.cross_entropy(t(1, 3), [0], label_smoothing=2),
        "cross_entropy: label_smoothing is 2, expected 0 to 1",
    ),
    (lambda: F.mse_loss(t(2, 3), t(3, 2)), "mse_loss: input has shape (2, 3) but target has shape (3, 2)"),
    (lambda: t(2, 3) + t(4), "add: inputs of shape (2, 3), (4,): operands could not be broadcast"),
    (lambda: t(2, 3) @ t(2, 3), "matmul: shapes (2, 3) and (2, 3) do not fit: the inner sizes must be equal"),
    (lambda: t(2, 3).sum(2), "sum: dim is 2, expected -2 to 1 for shape (2, 3)"),
    (lambda: t(2, 3).reshape(4, 2), "reshape: inputs of shape (2, 3): cannot reshape"),
    (lambda: t(2, 3).permute(0, 0), "permute: dims are (0, 0), expected each of 0 to 1 once for shape (2, 3)"),
    (lambda: tc.concatenate([]), "concatenate: the list of tensors is empty"),
    (lambda: tc.pad(t(2), (1, 2, 3, 4)), "pad: pad is (1, 2, 3, 4), expected pairs"),
    (lambda: t(2, 3).item(), "item: the tensor has 6 elements, shape (2, 3); expected one"),
    (lambda: t(0).max(), "max: the tensor has no elements, shape (0,)"),
    (lambda: t(2).clip(), "clip: min and max are both None, expected at least one bound"),
    (lambda: nn.Conv2d(3, 0, 3), "Conv2d: out_channels is 0, expected an integer of at least 1"),
    (lambda: nn.Conv2d(3, 4, 3, groups=2), "Conv2d: groups is 2, expected a divisor of in_channels 3"),
    (lambda: nn.Linear(2.5, 1), "Linear: in_features is 2.5, expected an integer of at least 1"),
    (lambda: nn.BatchNorm2d(3)(t(2, 3)), "BatchNorm2d: input has shape (2, 3), expected (N, C, H, W)"),
    (lambda: t(2, 3).flatten(2), "flatten: dim is 2, expected -2 to 1 for shape (2, 3)"),
    (lambda: t(2, 3).transpose(0, 2), "transpose: dim is 2, expected -2 to 1 for shape (2, 3)"),
    (lambda: tc.concatenate([t(2), t(2)], dim=1), "concatenate: dim is 1, expected -1 to 0 for shape (2,)"),
    (lambda: F.cross_entropy(t(), 0), "cross_entropy: input has shape (), expected (N, C), (C,) or (N, C, ...)"),
    (lambda: tc.Tensor([[1, 2], [3]]), "Tensor: data is not an array of one shape, are its rows of different lengths?"),
    (
        lambda: nn.Conv2d(1, 2, 3, padding="sme"),
        "Conv2d: padding is 'sme', expected a number, a pair of them, 'same' or 'valid'",
    ),
    (lambda: nn.Dropout(-1), "Dropout: p is -1, expected a probability from 0 to 1"),
    (lambda: tc.manual_seed(-1), "seed is -1, expected an integer of at least 0"),
]


@pytest.mark.parametrize(("call", "message"), MESSAGES, ids=[message[:40] for _, message in MESSAGES])
def test_values_that_do_not_fit(call, message):
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value).startswith(message)


class Nothing(tc.Function):
    def forward(self, x):
        self.save(x)  # and the return is forgotten


TYPES = [
    (lambda: F.relu(t(2, dtype=int)), "relu: input has dtype int64, expected float32 or float64"),
    (
        lambda: F.conv2d(t(1, 1, 3, 3), t(1, 1, 2, 2, dtype=float)),
        "conv2d: input has dtype float32 but weight has float64; convert one of them",
    ),
    (
        lambda: F.cross_entropy(t(2, 3), [0.5, 1.0]),
        "cross_entropy: target has dtype float64, expected integers (class indices)",
    ),
    (lambda: t(2).to("gpu"), "to: 'gpu' is neither a device (cpu, cuda) nor a dtype"),
    (
        lambda: t(2) + None,
        "add: inputs are Tensor, NoneType: unsupported operand type(s) for +: 'float' and 'NoneType'",
    ),
    (
        lambda: tc.where(t(2), t(2), t(2)),
        "where: the condition has dtype float32, expected bool; compare first, such as x > 0",
    ),
    (lambda: tc.stack(t(2, 3)), "stack: one array of shape (2, 3) came, expected a list or tuple of tensors"),
    (
        lambda: F.linear(t(1, 2), t(3, 2), t(3, dtype=float)),
        "linear: bias has dtype float64 but weight has float32; convert one of them",
    ),
    (lambda: nn.Sequential(nn.ReLU(), 1), "Sequential: entry 1 is 1, expected a Module"),
    (
        lambda: nn.Linear(2, 2).load_state_dict([1]),
        "load_state_dict: the state is a list, expected a dict of name to array, or such pairs",
    ),
    (lambda: tc.optim.SGD(nn.Linear(2, 2), lr=1), "SGD: a Linear came, expected its .parameters()"),
    (lambda: tc.optim.StepLR(3, 1), "StepLR: optimizer is 3, expected an Optimizer"),
    (
        lambda: tc.data.DataLoader([1, 2]),
        "DataLoader: dataset is a list, expected a Dataset such as ArrayDataset",
    ),
    (lambda: tc.gradcheck(lambda x: x, [np.zeros(2)]), "gradcheck: input 0 is a ndarray, expected a Tensor"),
    (lambda: Nothing.apply(t(2)), "Nothing.forward returned None, expected an array of numbers"),
    (lambda: nn.Linear(2, 2).to(int), "to: dtype is int64, expected float32 or float64"),
]


@pytest.mark.parametrize(("call", "message"), TYPES, ids=[message[:40] for _, message in TYPES])
def test_types_that_do_not_fit(call, message):
    with pytest.raises(TypeError) as caught:
        call()
    assert str(caught.value) == message
