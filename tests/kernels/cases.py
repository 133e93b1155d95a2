"""Arguments for every kernel, on small arrays of different lengths: ``CASES[name](dtype)`` gives tuples of them.

Names are those of the protocol. What a backward kernel needs from its forward kernel comes from the reference.
"""

import numpy as np

from tests.activations import ACTIVATIONS
from tinycnn.kernels import KernelSet
from tinycnn.kernels.geometry import ConvShape, PoolShape

reference = KernelSet("reference")

SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-30, 800.0, -800.0, 0.3])
CASES = {}


def case(*names):
    """Register a generator of arguments for the kernels of these names."""

    def register(generator):
        CASES.update(dict.fromkeys(names, generator))
        return generator

    return register


def numbers(dtype, *shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


# -- arrays ------------------------------------------------------------------------------------------------------------


@case("add")
def add(dtype):
    yield numbers(dtype, 3, 7), numbers(dtype, 3, 7, seed=1)


@case("channels_last")
def channels_last(dtype):
    yield (numbers(dtype, 2, 3, 1, 2),)


@case("join_channels")
def join_channels(dtype):
    yield ([numbers(dtype, 2, channels, 3, 2) for channels in (1, 3, 2)],)


@case("assign")
def assign(dtype):
    yield numbers(dtype, 2, 3, 1, 2), numbers(dtype, 2, 3, 1, 2, seed=1)
    yield numbers(dtype, 2, 3), numbers(dtype, 3, seed=1)
    yield numbers(dtype, 2, 9, 3, 2), 2.0


# -- products ------------------------------------------------------------------------------------------------

CONVOLUTIONS = (
    ConvShape.of((2, 3, 4, 5), (2, 3, 3, 2), 1, (1, 0)),
    ConvShape.of((1, 4, 5, 3), (6, 2, 2, 2), (2, 1), (0, 1), (2, 1), 2),
    ConvShape.of((3, 2, 3, 4), (2, 1, 3, 3), (3, 2), 2, 1, 2),
    ConvShape.of((1, 3, 2, 3), (5, 3, 1, 1)),
    ConvShape.of((1, 2, 3, 4), (2, 2, 2, 4), padding="same"),
    ConvShape((1, 2, 4, 3), (1, 2, 2, 2), (2, 1), (2, 0, 0, 3)),
)


@case("matmul")
def matmul(dtype):
    yield numbers(dtype, 5, 7), numbers(dtype, 7, 3)
    yield numbers(dtype, 4, 2).T, numbers(dtype, 6, 4).T
    yield numbers(dtype, 1, 64), numbers(dtype, 64, 2)
    yield numbers(dtype, 2, 0), numbers(dtype, 0, 3)


@case("im2col")
def im2col(dtype):
    for shape in CONVOLUTIONS:
        yield numbers(dtype, *shape.input), shape


@case("col2im")
def col2im(dtype):
    for x, shape in im2col(dtype):
        yield numbers(dtype, *reference.im2col(x, shape).shape), shape


@case("conv2d")
def conv2d(dtype):
    for shape in CONVOLUTIONS:
        yield *(numbers(dtype, *size) for size in (shape.input, shape.weight, shape.weight[:1])), shape, "auto"
    shape = ConvShape.of((1, 2, 3, 3), (1, 2, 2, 2))
    yield numbers(dtype, *shape.input), numbers(dtype, *shape.weight), None, shape, "im2col"


@case("conv2d_backward_input")
def conv2d_backward_input(dtype):
    for _, weight, _, shape, algorithm in conv2d(dtype):
        yield numbers(dtype, *shape.output), weight, shape, algorithm


@case("conv2d_backward_weight")
def conv2d_backward_weight(dtype):
    for x, _, _, shape, algorithm in conv2d(dtype):
        yield numbers(dtype, *shape.output), x, shape, algorithm


@case("conv2d_backward_bias")
def conv2d_backward_bias(dtype):
    yield (numbers(dtype, 2, 3, 4, 5),)


# -- activation ----------------------------------------------------------------------------------------------


def activation(name, variants):
    @case(name)
    def forward(dtype):
        for constants in variants:
            for x in numbers(dtype, 3, 1, 7), SPECIAL.astype(dtype), numbers(dtype), numbers(dtype, 2, 0):
                yield x, *constants

    @case(f"{name}_backward")
    def backward(dtype):
        for constants in variants:
            yield numbers(dtype, 3, 7), numbers(dtype, 3, 7, seed=1), *constants
            yield numbers(dtype, 9), SPECIAL.astype(dtype), *constants


for _name, _row in ACTIVATIONS.items():
    activation(_name, _row.variants)


# -- dropout -------------------------------------------------------------------------------------------------


@case("dropout")
def dropout(dtype):
    yield numbers(dtype, 3, 7), 0.5, 1, 2
    yield numbers(dtype, 2, 3, 4, 5), 0.3, 2**63 + 17, 2**40 + 5, 10_001
    yield numbers(dtype, 5), 0.0, 1, 2, 3
    yield numbers(dtype, 5), 1.0, 1, 2
    yield numbers(dtype, 0, 3), 0.5, 1, 2
    yield numbers(dtype), 0.5, 3, 2**32 - 1, 2**34


# -- softmax -------------------------------------------------------------------------------------------------


@case("softmax", "log_softmax")
def softmax(dtype):
    yield numbers(dtype, 2, 11), 1
    yield numbers(dtype, 2, 3, 2), -2
    yield numbers(dtype, 3, 2), 0
    yield numbers(dtype), 0
    yield numbers(dtype, 0, 3), 1
    yield numbers(dtype, 3, 0), 1
    yield np.array([[-np.inf, -np.inf], [-np.inf, 1], [np.inf, 0], [np.nan, 0], [1000, 999]], dtype), 1


@case("softmax_backward", "log_softmax_backward")
def softmax_backward(dtype):
    yield numbers(dtype, 2, 11), reference.softmax(numbers(dtype, 2, 11, seed=1), 1), 1
    yield numbers(dtype, 2, 3, 2), reference.log_softmax(numbers(dtype, 2, 3, 2, seed=1), 1), 1


def losses(dtype):
    logits, target = numbers(dtype, 2, 9, 2) * 3, np.array([[0, 8], [-100, 2]])
    for smoothing in 0.0, 0.2:
        yield logits, target, None, -100, smoothing
        yield logits, target % 9, numbers(dtype, 9) ** 2, 2, smoothing
    yield np.array([[[0], [-np.inf]]], dtype), np.array([[0]], np.int32), None, -100, 0.0
    yield numbers(dtype, 0, 3, 2), np.zeros((0, 2), np.int64), None, -100, 0.1


@case("cross_entropy")
def cross_entropy(dtype):
    yield from losses(dtype)


@case("cross_entropy_backward")
def cross_entropy_backward(dtype):
    for logits, target, *options in losses(dtype):
        log_probabilities = reference.cross_entropy(logits, target, *options)[2]
        yield numbers(dtype, *target.shape), log_probabilities, target, *options


# -- pooling -------------------------------------------------------------------------------------------------

POOLS = (  # (H, W), kernel, stride, padding, dilation, ceil_mode
    ((4, 6), (2, 2), (2, 2), (0, 0), (1, 1), False),
    ((7, 5), (3, 2), (2, 3), (1, 0), (1, 1), True),
    ((3, 6), (2, 3), (3, 1), (1, 1), (1, 1), False),
    ((5, 4), (2, 2), (1, 2), (0, 1), (3, 2), False),
    ((2, 2), (2, 2), (1, 1), (1, 1), (3, 3), False),  # a window of nothing but padding
)
UNEVEN = PoolShape((2, 1, 6, 5), (3, 4), (2, 3), (1, 0, 0, 2))
ADAPTIVE = (((5, 3), (2, 3)), ((2, 3), (1, 1)), ((2, 3), (3, 5)), ((4, 4), (2, 2)))


@case("max_pool2d")
def max_pool2d(dtype):
    for size, *options in POOLS:
        x = numbers(dtype, 1, 2, *size).round(1)
        x[0, 0, 0, 0], x[0, 0, 1, 1] = -np.inf, np.nan
        yield x, PoolShape.of(x.shape, *options)
    yield numbers(dtype, *UNEVEN.input), UNEVEN


@case("max_pool2d_backward")
def max_pool2d_backward(dtype):
    for x, shape in max_pool2d(dtype):
        yield numbers(dtype, *shape.output), reference.max_pool2d(x, shape)[1], shape


@case("avg_pool2d")
def avg_pool2d(dtype):
    for shape in (*(PoolShape.of((2, 1, *size), *options) for size, *options in POOLS[:3]), UNEVEN):
        for count_include_pad in False, True:
            yield numbers(dtype, *shape.input), shape, count_include_pad


@case("avg_pool2d_backward")
def avg_pool2d_backward(dtype):
    for _, shape, count_include_pad in avg_pool2d(dtype):
        yield numbers(dtype, *shape.output), shape, count_include_pad


@case("adaptive_avg_pool2d")
def adaptive_avg_pool2d(dtype):
    for size, output_size in ADAPTIVE:
        yield numbers(dtype, 1, 2, *size), output_size


@case("adaptive_avg_pool2d_backward")
def adaptive_avg_pool2d_backward(dtype):
    for size, output_size in ADAPTIVE:
        yield numbers(dtype, 1, 2, *output_size), (1, 2, *size)


# -- normalization -------------------------------------------------------------------------------------------

CHANNELS = (3, 2, 5), (1, 3, 1), (2, 1, 19), (0, 2, 3)


@case("batch_norm_statistics")
def batch_norm_statistics(dtype):
    for shape in CHANNELS:
        yield (numbers(dtype, *shape) * 2 + 1,)
    yield (numbers(dtype, 2, 1, 40) + 64,)


@case("track_statistics")
def track_statistics(dtype):
    yield *(abs(numbers(dtype, 19, seed=i)) for i in range(4)), 0.1, 19 / 18


@case("inverse_std")
def inverse_std(dtype):
    yield abs(numbers(dtype, 19)), 1e-5


@case("batch_norm")
def batch_norm(dtype):
    for shape in CHANNELS:
        yield numbers(dtype, *shape), *(numbers(dtype, shape[1], seed=i) for i in range(4))


@case("batch_norm_backward", "batch_norm_eval_backward")
def batch_norm_backward(dtype):
    for shape in CHANNELS:
        x = numbers(dtype, *shape)
        mean, var = reference.batch_norm_statistics(x)
        inv_std = (1 / np.sqrt(var + 1e-5)).astype(dtype)
        yield numbers(dtype, *shape, seed=5), x, mean, inv_std, numbers(dtype, shape[1], seed=2)


@case("batch_norm_gradient_sums")
def batch_norm_gradient_sums(dtype):
    for grad, x, mean, *_ in batch_norm_backward(dtype):
        yield grad, x, mean


@case("batch_norm_backward_input")
def batch_norm_backward_input(dtype):
    for grad, *others in batch_norm_backward(dtype):
        sums = reference.batch_norm_gradient_sums(grad, *others[:2])
        yield grad, *others, *((s / max(grad.shape[0] * grad.shape[2], 1)).astype(dtype) for s in sums)


@case("local_response_norm")
def local_response_norm(dtype):
    for size, beta in (3, 0.75), (2, 0.6), (9, 0.75), (1, 0.5):
        yield numbers(dtype, 2, 4, 3), size, 0.4, beta, 1.5


@case("local_response_norm_backward")
def local_response_norm_backward(dtype):
    for x, size, alpha, beta, k in local_response_norm(dtype):
        yield (
            numbers(dtype, *x.shape, seed=1),
            x,
            *reference.local_response_norm(x, size, alpha, beta, k),
            size,
            alpha,
            beta,
        )


# -- optimizer -----------------------------------------------------------------------------------------------


@case("sgd_update")
def sgd_update(dtype):
    parameter, grad, velocity = (numbers(dtype, 3, 7, seed=i) for i in range(3))
    yield parameter, grad, None, True, 0.1, 0.0, 0.0, 0.01, False
    yield parameter, grad, velocity, False, 0.1, 0.9, 0.2, 0.01, False
    yield parameter, grad, velocity, False, 0.1, 0.9, 0.0, 0.01, True
    yield parameter, grad, np.full_like(velocity, np.nan), True, 0.1, 0.9, 0.2, 0.0, False


@case("adam_update")
def adam_update(dtype):
    parameter, grad, first, second = (numbers(dtype, 3, 7, seed=i) for i in range(4))
    for decoupled in False, True:
        yield parameter, grad, first, second**2, 3, 0.1, 0.9, 0.99, 1e-8, 0.01, decoupled
