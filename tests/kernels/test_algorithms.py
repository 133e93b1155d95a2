"""Every algorithm of the convolution computes the same as im2col and a matrix product, for any shape."""

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import functional as F
from tinycnn.kernels.cpu.conv import (
    conv2d,
    conv2d_backward_input,
    conv2d_backward_weight,
    winograd,
    winograd_gradient,
    winograd_transforms,
)
from tinycnn.kernels.geometry import ConvShape

RNG = np.random.default_rng(0)

# images, channels, height, width, outputs, kernel, padding
WINOGRAD = [
    (1, 16, 1, 1, 16, 3, 1),  # less than a tile
    (2, 16, 4, 8, 32, 3, 0),
    (3, 32, 9, 7, 16, 3, 1),
    (2, 48, 13, 10, 64, 3, 2),
    (2, 16, 9, 11, 32, 5, 2),
    (1, 32, 6, 7, 16, 5, 4),
    (2, 16, 7, 9, 32, 3, (0, 2, 1, 0)),
    (1, 32, 6, 7, 16, 5, (3, 0, 1, 4)),
    (2, 192, 7, 6, 192, 3, 1),  # few tiles, many weights
    (1, 176, 6, 5, 256, 5, 2),
    (3, 192, 40, 45, 176, 3, 1),  # many of both
]
DIRECT = [
    ConvShape.of((2, 24, 12, 11), (40, 24, 3, 3), 2, 1),
    ConvShape.of((1, 3, 30, 31), (24, 3, 7, 7), 2, 3),
    ConvShape.of((2, 32, 9, 9), (32, 8, 3, 3), 1, 1, 2, 4),
    ConvShape.of((2, 16, 10, 10), (16, 16, 3, 3), 1, 1),
    ConvShape.of((2, 24, 12, 11), (40, 24, 4, 2), padding="same"),
    ConvShape((2, 24, 12, 11), (40, 24, 3, 3), (2, 1), (0, 2, 3, 0)),
]


def draw(shape, dtype):
    sizes = shape.input, shape.weight, shape.weight[:1], shape.output
    return [RNG.normal(size=size).astype(dtype) for size in sizes]


def winograd_case(case):
    n, c, height, width, outputs, kernel, padding = case
    sides = (padding,) * 4 if isinstance(padding, int) else padding
    return ConvShape((n, c, height, width), (outputs, c, kernel, kernel), padding=sides)


def passes(x, weight, bias, grad, shape, algorithm):
    return (
        conv2d(x, weight, bias, shape, algorithm),
        conv2d_backward_input(grad, weight, shape, algorithm),
        conv2d_backward_weight(grad, x, shape, algorithm),
    )


def assert_alike(ours, references, tolerance):
    for mine, reference in zip(ours, references):
        assert mine.dtype == reference.dtype and mine.shape == reference.shape
        assert np.abs(mine - reference).max() <= tolerance * np.abs(reference).max()


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-5)])
@pytest.mark.parametrize("case", WINOGRAD, ids=str)
def test_winograd_equals_im2col(case, dtype, tolerance):
    shape = winograd_case(case)
    arrays = draw(shape, dtype)
    assert_alike(passes(*arrays, shape, "winograd"), passes(*arrays, shape, "im2col"), tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 3e-6)])
@pytest.mark.parametrize("case", DIRECT, ids=str)
def test_direct_equals_im2col(case, dtype, tolerance):
    arrays = draw(case, dtype)
    assert_alike(passes(*arrays, case, "direct"), passes(*arrays, case, "im2col"), tolerance)


@pytest.mark.nojit
def test_winograd_without_compilation():
    for case in ((1, 16, 5, 6, 16, 3, 1), (1, 16, 3, 4, 16, 5, 2)):
        shape = winograd_case(case)
        arrays = draw(shape, np.float64)
        assert_alike(passes(*arrays, shape, "winograd"), passes(*arrays, shape, "im2col"), 1e-12)


@pytest.mark.parametrize("case", WINOGRAD[3:], ids=str)
def test_winograd_has_the_same_bits_for_any_number_of_threads(case):
    shape = winograd_case(case)
    arrays = draw(shape, np.float32)
    results = []
    for threads in (1, 3):
        tc.set_num_threads(threads)
        results.append([a.tobytes() for a in passes(*arrays, shape, "winograd")])
    assert results[0] == results[1]


@pytest.mark.parametrize("kernel", [3, 5])
def test_the_matrices_of_winograd_make_a_convolution_of_one_line(kernel):
    """A^T [(G g) * (B^T d)] is the correlation of d with g, exactly."""
    line, weights = RNG.normal(size=winograd_transforms.SIDE), RNG.normal(size=kernel)
    values = (np.array(winograd_transforms.values_of(kernel)) @ weights) * (np.array(winograd_transforms.B_T) @ line)
    outputs = np.array(winograd_transforms.outputs_of(kernel)) @ values
    np.testing.assert_allclose(outputs, np.correlate(line, weights, "valid"), atol=1e-13)


@pytest.mark.parametrize("padding", [(3, 1), (1, 4), (5, 5)])
def test_more_padding_than_the_kernel_is_left_to_the_direct_convolution(padding):
    shape = ConvShape.of((1, 16, 4, 5), (16, 16, 3, 3), padding=padding)
    assert winograd.obstacle(shape) == "padding not less than the kernel"
    arrays = draw(shape, np.float64)
    assert_alike(passes(*arrays, shape, "auto"), passes(*arrays, shape, "im2col"), 1e-12)


def test_what_winograd_cannot_do_is_said():
    x, weight = np.zeros((1, 16, 8, 8)), np.zeros((16, 16, 3, 3))
    with pytest.raises(ValueError, match=r"'winograd' takes 3x3 and 5x5 kernels .* stride \(2, 2\)"):
        conv2d(x, weight, None, ConvShape.of(x.shape, weight.shape, 2, 1), "winograd")


# images, channels, height, width, outputs, kernel, padding
BAD_PIXELS = [
    (1, 16, 16, 16, 16, 3, 1),
    (2, 32, 9, 7, 16, 3, 2),
    (2, 32, 9, 7, 16, 3, (0, 2, 1, 0)),
    (2, 16, 5, 5, 32, 3, 0),
    (2, 16, 9, 11, 32, 5, 2),
    (2, 192, 7, 6, 192, 3, 1),  # panel by panel
]
BAD_VALUES = [np.nan, -np.inf, 1e3, 1e12, 1e30]


def with_bad(array, places, value):
    """Return the array with some elements replaced, and 1 at their positions."""
    spoiled, mask = array.copy(), np.zeros(array.shape)
    for place in places:
        spoiled[place], mask[place] = value, 1
    return spoiled, mask


def assert_unseen_stay(ours, clean, seen):
    with np.errstate(invalid="ignore", over="ignore"):
        errors = np.abs(ours - clean)
    assert errors[~seen].max(initial=0) <= 1e-4 * np.abs(clean).max()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", BAD_VALUES)
@pytest.mark.parametrize("case", BAD_PIXELS, ids=str)
def test_bad_elements_reach_only_the_results_that_they_are_part_of(case, value, dtype):
    shape = winograd_case(case)
    x, weight, bias, grad = draw(shape, dtype)
    ones = np.ones(weight.shape)
    clean = passes(x, weight, bias, grad, shape, "direct")
    last = tuple(size - 1 for size in x.shape)
    for places in ([(0, 3, 2, 2)], [(0, 0, 0, 0)], [last, (0, 0, 1, 2)], [(0, c, 2, 1) for c in range(x.shape[1])]):
        spoiled, mask = with_bad(x, places, value)
        seen = conv2d(mask, ones, None, shape, "im2col") > 0
        assert_unseen_stay(conv2d(spoiled, weight, bias, shape), clean[0], seen)
        ours = conv2d_backward_weight(grad, spoiled, shape)
        seen = conv2d_backward_weight(np.ones(grad.shape), mask, shape, "im2col") > 0
        assert_unseen_stay(ours, clean[2], seen)
    for places in ([(0, 3, 1, 2)], [(0, 0, 0, 0)], [tuple(size - 1 for size in grad.shape)]):
        spoiled, mask = with_bad(grad, places, value)
        seen = conv2d_backward_input(mask, ones, shape, "im2col") > 0
        assert_unseen_stay(conv2d_backward_input(spoiled, weight, shape), clean[1], seen)
        ours = conv2d_backward_weight(spoiled, x, shape)
        seen = np.isin(np.arange(len(weight)), [place[1] for place in places])  # each weight of those outputs
        assert_unseen_stay(ours, clean[2], np.broadcast_to(seen[:, None, None, None], weight.shape))


@pytest.mark.parametrize(("dtype", "size"), [(np.float32, 1e30), (np.float32, 1e36), (np.float64, 1e305)])
def test_images_of_huge_numbers_do_not_overflow_where_the_direct_convolution_does_not(dtype, size):
    shape = winograd_case(WINOGRAD[2])
    x, weight, bias, grad = draw(shape, dtype)
    arrays = (x * dtype(size), weight, bias, grad * dtype(size))
    ours, references = (
        (conv2d(x, w, b, shape, name), conv2d_backward_input(g, w, shape, name))
        for x, w, b, g in [arrays]
        for name in ("auto", "direct")
    )
    for mine, reference in zip(ours, references):
        assert np.isfinite(reference).all()
        assert np.abs(mine - reference).max() <= 3e-5 * np.abs(reference).max()


def test_common_images_and_gradients_are_not_taken_for_bad_ones(monkeypatch):
    """ReLU's zeros, and the gradients behind batch norm and ReLU, of which two thirds are tiny."""
    flagged = []
    real = winograd.any_out_of_range
    for module in (winograd, winograd_gradient):
        monkeypatch.setattr(module, "any_out_of_range", lambda flags: flagged.append(flags.any()) or real(flags))
    shape = winograd_case((2, 32, 18, 17, 16, 3, 1))
    x, weight, bias, grad = draw(shape, np.float32)
    grad[RNG.random(grad.shape) > 0.3] *= 1e-4
    one_pixel = np.zeros_like(x)
    one_pixel[0, 3, 4, 5] = 1
    for image in (np.maximum(x, 0), 1e-38 * x, 1e20 * x, one_pixel, 0 * x):
        passes(image, weight, bias, grad, shape, "winograd")
    assert len(flagged) == 15 and not any(flagged)


@pytest.mark.nojit
def test_a_bad_pixel_without_compilation():
    x, weight = RNG.normal(size=(1, 16, 6, 6)), RNG.normal(size=(16, 16, 3, 3))
    shape = ConvShape.of(x.shape, weight.shape, padding=1)
    clean = conv2d(x, weight, None, shape, "im2col")
    x[0, 0, 0, 0] = np.nan
    ours = conv2d(x, weight, None, shape, "winograd")
    assert np.isnan(ours).sum() == 16 * 4
    np.testing.assert_allclose(ours[~np.isnan(ours)], clean[~np.isnan(ours)], atol=1e-10)


@pytest.mark.parametrize("padding", [3, 4, (0, 3), (5, 1)])
def test_padding_of_the_kernels_size_or_more_is_not_left_to_winograd(padding):
    rng = np.random.default_rng(0)
    x, weight = (tc.Tensor(rng.normal(size=shape), requires_grad=True) for shape in ((2, 16, 6, 5), (16, 16, 3, 3)))
    found = {}
    for algorithm in ("auto", "im2col"):
        x.grad = weight.grad = None
        out = F.conv2d(x, weight, padding=padding, algorithm=algorithm)
        out.backward(np.random.default_rng(1).normal(size=out.shape))
        found[algorithm] = out.data, x.grad, weight.grad
    for auto, reference in zip(found["auto"], found["im2col"]):
        np.testing.assert_allclose(auto, reference, rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="less padding than kernel"):
        F.conv2d(x, weight, padding=padding, algorithm="winograd")
