"""Cases that the formulas leave open: ties, NaN, empty arrays, odd strides, and randomness."""

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import functional as F
from tinycnn import nn
from tinycnn.random import Generator

RNG = np.random.default_rng(0)


def leaf(array):
    return tc.Tensor(np.asarray(array, np.float64), requires_grad=True)


def test_relu_has_no_gradient_at_zero():
    x = leaf([-1.0, 0.0, 2.0])
    F.relu(x).sum().backward()
    assert x.grad.tolist() == [0, 0, 1]


def test_ties():
    x = leaf([2.0, 5.0, 5.0])
    x.max().backward()
    assert x.grad.tolist() == [0, 0.5, 0.5]
    x = leaf([[5.0, 5.0, 1.0]])
    x.max(1).values.sum().backward()
    assert x.grad.tolist() == [[1, 0, 0]]
    image = leaf(np.ones((1, 1, 2, 4)))
    F.max_pool2d(image, 2).sum().backward()
    assert image.grad.tolist() == [[[[1, 0, 1, 0], [0, 0, 0, 0]]]]


def test_overlapping_windows_add_up():
    image = leaf(np.zeros((1, 1, 3, 3)))
    image.data[0, 0, 1, 1] = 1
    F.max_pool2d(image, 2, 1).sum().backward()
    assert image.grad[0, 0].tolist() == [[0, 0, 0], [0, 4, 0], [0, 0, 0]]


def test_softmax_is_stable():
    x = np.array([[1e4, 0.0, -1e4], [0.0, 0.0, 0.0]])
    assert np.isfinite(F.softmax(tc.Tensor(x)).data).all()
    np.testing.assert_allclose(F.log_softmax(tc.Tensor(x)).data[0], [0, -1e4, -2e4])
    loss = F.cross_entropy(leaf(x), [2, 0], reduction="none")
    np.testing.assert_allclose(loss.data, [2e4, np.log(3)])
    assert F.softmax(tc.Tensor(np.array([0.0, np.nan]))).data.tolist() == pytest.approx([np.nan] * 2, nan_ok=True)


def test_all_targets_ignored_is_nan_and_an_empty_batch_too():
    x = leaf(np.zeros((2, 3)))
    assert np.isnan(F.cross_entropy(x, [-100, -100]).item())
    assert np.isnan(F.cross_entropy(leaf(np.zeros((0, 3))), np.zeros(0, int)).item())


def test_an_empty_batch_passes_every_layer():
    net = nn.Sequential(
        *(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.LocalResponseNorm(3), nn.MaxPool2d(2), nn.Dropout()),
        *(nn.AvgPool2d(2), nn.BatchNorm2d(4).eval(), nn.Sigmoid(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        *(nn.Linear(4, 3), nn.Tanh(), nn.LogSoftmax()),
    )
    out = net(tc.Tensor(np.zeros((0, 2, 8, 6), np.float32)))
    assert out.shape == (0, 3)
    out.sum().backward()
    assert not net[0].weight.grad.any()


def test_one_pixel_images():
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(1), nn.Flatten())
    assert net(tc.Tensor(np.ones((2, 1, 1, 1), np.float32))).shape == (2, 2)


OPERATIONS = {
    "conv2d": lambda x: F.conv2d(x, tc.Tensor(np.ones((2, 3, 2, 3))), padding=1),
    "max_pool2d": lambda x: F.max_pool2d(x, (2, 1)),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 2, 1),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, 2),
    "batch_norm": lambda x: F.batch_norm(x, None, None, training=True),
    "local_response_norm": lambda x: F.local_response_norm(x, 3),
    "relu": F.relu,
    "softmax": lambda x: F.softmax(x, 1),
    "log_softmax": lambda x: F.log_softmax(x, 2),
    "dropout": lambda x: F.dropout(x, 0.5, generator=Generator(3)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_odd_strides_make_no_difference(name, kernel_set):
    tolerance = 0 if kernel_set == "fast" else 1e-13  # NumPy adds in the order of memory
    base = RNG.normal(size=(2, 3, 5, 4))
    views = {
        "transposed": base.transpose(0, 1, 3, 2).copy().transpose(0, 1, 3, 2),
        "reversed": base[..., ::-1].copy()[..., ::-1],
        "sliced": np.repeat(base, 2, axis=3)[..., ::2],
        "read-only": base.copy(),
    }
    views["read-only"].flags.writeable = False
    x = leaf(base)
    out = OPERATIONS[name](x)
    cotangent = RNG.normal(size=out.shape)
    out.backward(cotangent)
    for view in views.values():
        y = tc.Tensor.wrap(view)
        y.requires_grad = True
        again = OPERATIONS[name](y)
        again.backward(cotangent[::-1].copy()[::-1])
        np.testing.assert_allclose(again.data, out.data, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(y.grad, x.grad, rtol=tolerance, atol=tolerance)


def test_dropout_keeps_its_share_its_mean_and_its_mask():
    x = leaf(np.ones(20_000))
    out = F.dropout(x, 0.3, generator=Generator(1))
    kept = out.data != 0
    assert abs(kept.mean() - 0.7) < 0.02
    np.testing.assert_allclose(out.data[kept], 1 / 0.7)
    out.sum().backward()
    np.testing.assert_array_equal(x.grad, out.data)
    assert F.dropout(x, 0.3, training=False) is x
    assert not F.dropout(x, 1.0).data.any()


def test_dropout_has_the_same_bits_for_any_number_of_threads():
    masks = []
    for threads in (1, 4):
        tc.set_num_threads(threads)
        masks.append(F.dropout(tc.Tensor(np.ones(100_000, np.float32)), 0.5, generator=Generator(5)).data.tobytes())
    assert masks[0] == masks[1]


def test_dropout_draws_anew_each_time_and_again_from_the_same_seed():
    tc.manual_seed(7)
    first, second = (F.dropout(tc.Tensor(np.ones(100))).data for _ in range(2))
    tc.manual_seed(7)
    assert (first != second).any() and (F.dropout(tc.Tensor(np.ones(100))).data == first).all()


def test_comparisons_have_no_gradient():
    x = leaf([1.0, 2.0])
    for result in (x > 1, x >= 2, x < 2, x <= 1, x == 1, x != 1):
        assert result.dtype == bool and not result.requires_grad


def test_integers_divide_and_average_to_float32():
    x = tc.Tensor([1, 2])
    assert (x / 2).data.tolist() == [0.5, 1.0] and (x / 2).dtype == x.mean().dtype == np.float32


def test_a_tensor_converts_to_float64_and_its_gradient_back():
    x = tc.Tensor([1.0, 2.0], requires_grad=True)
    y = x.to(np.float64)
    assert y.dtype == x.astype(np.float64).dtype == np.float64
    (y * y).sum().backward()
    assert x.grad.dtype == np.float32 and x.grad.tolist() == [2.0, 4.0]


# -- numbers beyond a dtype --------------------------------------------------------------------------------------------


def assigned(value, dtype):
    x = tc.Tensor(np.zeros(2, dtype))
    x[0] = value
    return x.data


def gradient(value):
    x = tc.Tensor(np.ones(2, np.float32), requires_grad=True)
    (x * 2.0).backward(value)
    return x.grad


def hooked(value):
    x = tc.Tensor(np.ones(2, np.float32), requires_grad=True)
    x.register_hook(lambda grad: value)
    (x * 2.0).sum().backward()
    return x.grad


BEYOND = np.full(2, 1e300)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("compute", "expected"),
    [
        (lambda: tc.Tensor([1e300, -1e300]).data, [np.inf, -np.inf]),
        (lambda: tc.Tensor(BEYOND, dtype=np.float32).data, [np.inf, np.inf]),
        (lambda: assigned(1e300, np.float32), [np.inf, 0]),
        (lambda: assigned(np.array(-1e300), np.float32), [-np.inf, 0]),
        (lambda: gradient(BEYOND), [np.inf, np.inf]),
        (lambda: gradient([1e300, 0.0]), [np.inf, 0]),
        (lambda: hooked(BEYOND), [np.inf, np.inf]),
        (lambda: (tc.Tensor([1.0, 2.0]) < 1e300).data, [True, True]),
        (lambda: (tc.Tensor([1.0, 2.0]) >= 1e300).data, [False, False]),
        (lambda: (tc.Tensor([1.0, 2.0]) != -1e300).data, [True, True]),
        (lambda: tc.Tensor(np.zeros((0, 2), np.float32)).var(dim=0).data, [np.nan, np.nan]),
        (lambda: F.mse_loss(tc.Tensor([1.0, 2.0]), [1e300, 2.0], "none").data, [np.inf, 0]),
        (lambda: F.nll_loss(-tc.Tensor(np.eye(2, dtype=np.float32)), [0, 1], [1e300, 2.0], reduction="none").data,
         [np.inf, 2]),
        (lambda: tc.nn.init.constant_(tc.Tensor([1.0, 2.0]), 1e300).data, [np.inf, np.inf]),
    ],
)  # fmt: skip
def test_numbers_beyond_a_dtype_are_infinite_without_a_warning(compute, expected):
    assert np.array_equal(compute(), expected, equal_nan=True)


def test_where_no_gradient_flows_an_infinite_one_does_not_either():
    x = tc.Tensor([-5.0, 0.5, 7.0], requires_grad=True)
    x.clip(0, 1).backward([np.inf, 1.0, np.nan])
    assert x.grad.tolist() == [0, 1, 0]
    x.grad = None
    x.max().backward(np.inf)
    assert x.grad.tolist() == [0, 0, np.inf]


@pytest.mark.parametrize("loss", [F.nll_loss, F.cross_entropy])
def test_an_index_to_ignore_beyond_int64_is_refused(loss):
    targets = np.array([2**64 - 1, 0], np.uint64)
    with pytest.raises(ValueError, match="ignore_index is 18446744073709551615, expected an integer of 64 bits"):
        loss(tc.Tensor(np.eye(2)), targets, ignore_index=2**64 - 1)


def test_complex_running_statistics_are_refused():
    with pytest.raises(TypeError, match="running_mean has dtype complex128, expected real numbers"):
        F.batch_norm(tc.Tensor(np.ones((2, 2))), np.ones(2, complex), np.ones(2))
