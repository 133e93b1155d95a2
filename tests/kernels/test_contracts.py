"""No call of a kernel, whatever its arguments, reaches a compiled loop with arrays that do not fit together."""

import inspect

import numpy as np
import pytest

import tinycnn as tc
from tests.activations import ACTIVATIONS
from tinycnn import kernels
from tinycnn.kernels import contracts, unchecked
from tinycnn.kernels.geometry import ConvShape, PoolShape
from tinycnn.kernels.protocol import FILE_OF, PROTOCOL

KERNELS = kernels.for_device("cpu")
CONV, POOL = ConvShape.of((2, 3, 5, 5), (4, 3, 3, 3)), PoolShape.of((2, 3, 5, 5), 2)
DILATED = PoolShape.of((2, 3, 5, 5), 2, dilation=2)


def f(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


IMAGES, WEIGHT = f(2, 3, 5, 5), f(4, 3, 3, 3)
ROWS, LABELS = f(2, 3, 1), np.zeros((2, 1), np.int64)
CHANNELS = f(2, 3, 4)
FROZEN = f(4)
FROZEN.flags.writeable = False
DOUBLE = f(4, dtype=np.float64)

WRONG = {
    "channels_last": [(f(2, 3, 5),), ([1.0],), (f(1, 1, 1, 1).astype(object),)],
    "join_channels": [([],), ([f(1, 2, 3, 3), f(1, 2, 3, 4)],), ([f(1, 2, 3, 3), f(1, 2, 3, 3, dtype=np.float64)],)],
    "assign": [(FROZEN, 1.0), (None, 1.0)],
    "add": [(f(4), f(5)), (f(4), DOUBLE), (f(4), f(4), FROZEN), (f(4), f(4), f(3)), (f(4), 1.0)],
    "matmul": [(f(2, 3), f(4, 5)), (f(3), f(3, 2)), (f(2, 3), [[1.0]]), (f(2, 2), f(2, 2).astype(complex))],
    "im2col": [(IMAGES[:1], CONV), (IMAGES, None), (IMAGES, (2, 2)), ([1.0], CONV)],
    "col2im": [(f(2, 27, 8), CONV), (f(2, 26, 9), CONV), (f(2, 27, 9), POOL), (f(2, 27, 9).astype(int), CONV)],
    "conv2d": [
        (IMAGES, f(4, 2, 3, 3), None, CONV),
        (IMAGES, WEIGHT.astype(np.float64), None, CONV),
        (IMAGES, WEIGHT, f(3), CONV),
        (IMAGES, WEIGHT, f(4, dtype=np.float64), CONV),
        (IMAGES, WEIGHT, None, POOL),
        (IMAGES[:1], WEIGHT, None, CONV),
        (IMAGES, WEIGHT, None, CONV, "fft"),
        (None, WEIGHT, None, CONV),
    ],
    "conv2d_backward_input": [
        (f(1, 4, 3, 3), WEIGHT, CONV),
        (f(2, 4, 3, 3), f(4, 3, 3, 2), CONV),
        (f(2, 4, 3, 3), WEIGHT, (2, 3, 5, 5)),
        (f(2, 4, 3, 3), WEIGHT, CONV, "fft"),
    ],
    "conv2d_backward_weight": [
        (f(1, 4, 3, 3), IMAGES, CONV),
        (f(2, 4, 3, 3), IMAGES[:1], CONV),
        (f(2, 4, 3, 3), IMAGES, (4, 3, 3, 3)),
        (f(2, 4, 3, 3), IMAGES, CONV, "fft"),
    ],
    "conv2d_backward_bias": [(f(4, 3, 3),)],
    "max_pool2d": [(IMAGES[:1], POOL), (IMAGES, CONV), (f(1, 1, 200, 200), PoolShape.of((1, 1, 200, 200), 200))],
    "max_pool2d_backward": [
        (f(2, 3, 2, 2), np.zeros((2, 3, 2, 1), np.int16), POOL),
        (f(1, 3, 2, 2), np.zeros((1, 3, 2, 2), np.int16), POOL),
        (f(2, 3, 2, 2), np.zeros((2, 3, 2, 2), np.int16), (2, 3, 5, 5)),
    ],
    "avg_pool2d": [(IMAGES, None, True), (f(3, 5, 5), POOL, True), (IMAGES, DILATED, True)],
    "avg_pool2d_backward": [(f(2, 3, 3, 2), POOL, True), (f(2, 3, 2, 2), CONV, True), (f(2, 3, 2, 2), DILATED, True)],
    "adaptive_avg_pool2d": [(IMAGES, (0, 1)), (IMAGES, (2**40, 1)), (f(1, 1, 0, 3), (1, 1))],
    "adaptive_avg_pool2d_backward": [(f(1, 3, 2, 2), (2, 3, 5, 5)), (f(2, 3, 2, 2), (2, 3, 5))],
    **{
        name: [(x, *row.numbers) for x in (np.ones(4, np.int64), np.ones(4, np.float16), 1.0, f(4).astype(">f4"))]
        + [(f(4), *["0.1"] * len(row.numbers))] * bool(row.numbers)
        for name, row in ACTIVATIONS.items()
    },
    **{
        f"{name}_backward": [(f(3), f(4), *row.numbers), (DOUBLE, f(4), *row.numbers), (f(1, 4), f(4), *row.numbers)]
        for name, row in ACTIVATIONS.items()
    },
    "softmax": [(f(2, 3), 2), (f(2, 3), None)],
    "softmax_backward": [(f(2, 2), f(2, 3), 1)],
    "log_softmax": [(f(2, 3), -3)],
    "log_softmax_backward": [(f(2, 2), f(2, 3), 1), (f(2, 3, dtype=np.float64), f(2, 3), 1)],
    "cross_entropy": [
        (ROWS, np.zeros((3, 1), np.int64), None, -100, 0.0),
        (ROWS, np.zeros((2, 1)), None, -100, 0.0),
        (ROWS, LABELS, f(2), -100, 0.0),
        (ROWS, LABELS, None, 2**70, 0.0),
    ],
    "cross_entropy_backward": [(f(1, 1), ROWS, LABELS, None, -100, 0.0), (f(2, 1), f(2, 3), LABELS, None, -100, 0.0)],
    "dropout": [(f(4), 1.5, 0, 0), (f(4), 0.5, 0, 0, -1), (np.ones(4, int), 0.5, 0, 0)],
    "batch_norm_statistics": [(f(2, 3),)],
    "track_statistics": [(f(3), f(3), f(2), f(3), 0.1, 1.0), (FROZEN, f(4), f(4), f(4), 0.1, 1.0)],
    "inverse_std": [(f(3), "eps")],
    "batch_norm": [(CHANNELS, f(2), f(3), f(3), f(3)), (CHANNELS, f(3), f(3), f(1), f(3)), (f(2, 3), *[f(3)] * 4)],
    "batch_norm_backward": [(f(2, 3, 3), CHANNELS, *[f(3)] * 3), (CHANNELS, CHANNELS, f(3), f(3), f(4))],
    "batch_norm_gradient_sums": [(f(1, 3, 4), CHANNELS, f(3)), (CHANNELS, CHANNELS, f(6))],
    "batch_norm_backward_input": [(f(1, 3, 4), CHANNELS, *[f(3)] * 5), (CHANNELS, CHANNELS, *[f(3)] * 4, f(2))],
    "batch_norm_eval_backward": [(f(1, 3, 4), CHANNELS, *[f(3)] * 3), (CHANNELS, CHANNELS, *[f(1)] * 3)],
    "local_response_norm": [(CHANNELS, 0, 1.0, 0.75, 1.0), (f(2, 3), 5, 1.0, 0.75, 1.0)],
    "local_response_norm_backward": [(f(2, 3, 3), CHANNELS, CHANNELS, CHANNELS, 5, 1.0, 0.75)],
    "sgd_update": [
        (f(4), f(3), None, True, 0.1, 0.0, 0.0, 0.0, False),
        (f(4), f(4), f(2), False, 0.1, 0.9, 0.0, 0.0, False),
        (f(4), DOUBLE, None, True, 0.1, 0.0, 0.0, 0.0, False),
        (FROZEN, f(4), None, True, 0.1, 0.0, 0.0, 0.0, False),
    ],
    "adam_update": [
        (f(4), f(4), f(3), f(4), 1, 0.1, 0.9, 0.99, 1e-8, 0.0, False),
        (f(4), f(4), f(4), DOUBLE, 1, 0.1, 0.9, 0.99, 1e-8, 0.0, False),
        (f(4), f(4), f(4), f(4), 0, 0.1, 0.9, 0.99, 1e-8, 0.0, False),
    ],
}


def test_every_kernel_with_a_loop_is_checked_and_has_wrong_calls():
    with_loops = {name for name, file in FILE_OF.items() if file != "memory"}
    assert set(WRONG) == with_loops
    for name in with_loops - set(PROTOCOL["activation"]):
        kernel = unchecked("cpu", name)
        assert parameters(getattr(contracts, name)) == parameters(kernel)


def parameters(function):
    return [(p.name, p.default) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("name", WRONG)
def test_arguments_that_do_not_fit_are_refused_by_name(name):
    for arguments in WRONG[name]:
        with pytest.raises((ValueError, TypeError), match=f"^{name}: "):
            getattr(KERNELS, name)(*arguments)


def test_a_target_outside_the_classes_reads_no_other_memory():
    target = np.array([[0], [2**40], [-(2**40)]])
    losses, weights, log_p = KERNELS.cross_entropy(f(3, 2, 1), target, None, -100, 0.1)
    assert np.isnan(losses[:, 0]).tolist() == np.isnan(weights[:, 0]).tolist() == [False, True, True]
    grad = KERNELS.cross_entropy_backward(f(3, 1), log_p, target, None, -100, 0.1)
    assert np.isnan(grad[:, :, 0]).tolist() == [[False, False], [True, True], [True, True]]


def test_a_backward_called_by_hand_checks_its_gradient():
    x = tc.Tensor(IMAGES, requires_grad=True)
    outputs = [
        tc.functional.conv2d(x, tc.Tensor(WEIGHT)),
        tc.functional.max_pool2d(x, 2),
        tc.functional.avg_pool2d(x, 2),
        tc.functional.softmax(x, 1),
        tc.functional.relu(x),
    ]
    for output in outputs:
        with pytest.raises(ValueError, match="grad has shape"):
            output.grad_fn.backward(output.data[:1])


def test_an_operation_called_by_hand_checks_its_inputs():
    x = tc.Tensor(IMAGES)
    with pytest.raises(ValueError, match="weight has shape"):
        tc.ops.convolution.Conv2d.apply(x, tc.Tensor(f(4, 9, 3, 3)), None, shape=CONV, algorithm="auto")
    with pytest.raises(TypeError, match="relu: x has dtype int64"):
        tc.ops.activation.ReLU.apply(tc.Tensor([1, 2]))
    with pytest.raises(ValueError, match="batch_norm: weight has shape"):
        options = {"training": True, "momentum": 0.1, "eps": 1e-5, "communicator": None}
        options |= {"running_mean": None, "running_var": None}
        tc.ops.normalization.BatchNorm.apply(x, tc.Tensor(f(9)), None, **options)


def test_arguments_that_equal_those_of_an_earlier_call_but_are_of_other_kinds_are_checked():
    pooled = KERNELS.adaptive_avg_pool2d(IMAGES, (2, 2))
    for size in ((2.0, 2.0), (2, True + 1.0), [2, 2.5]):
        with pytest.raises(ValueError, match="output_size"):
            KERNELS.adaptive_avg_pool2d(IMAGES, size)
    assert pooled.shape == (2, 3, 2, 2)
    out = f(4)
    assert KERNELS.add(f(4), f(4), out=out) is out
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        KERNELS.add(f(4), f(4), out=out)
    with pytest.raises(TypeError):
        KERNELS.add(f(4), f(4), f(4), "out")
    with pytest.raises(TypeError, match="b has dtype"):
        KERNELS.add(f(4), DOUBLE)


def test_what_is_remembered_of_checks_is_bounded(monkeypatch):
    calls = []
    monkeypatch.setattr(contracts, "MOST_FACTS", 3)
    monkeypatch.setattr(contracts, "softmax", lambda x, axis: calls.append(x.shape))
    softmax = contracts.checked(unchecked("cpu", "softmax"))
    for size in (1, 1, 2, 3, 4, 5, 1, 1):
        softmax(f(size), 0)
    assert [shape[0] for shape in calls] == [1, 2, 3, 4, 5, 1]
