"""Convolution and matrix product against plain loops, and the identities between them."""

from importlib import import_module

import numpy as np
import pytest

import tinycnn as tc
from tinycnn.kernels.cpu.conv import (
    conv2d,
    conv2d_backward_bias,
    conv2d_backward_input,
    conv2d_backward_weight,
)
from tinycnn.kernels.cpu.im2col import col2im, im2col
from tinycnn.kernels.cpu.matmul import matmul
from tinycnn.kernels.geometry import ConvShape

RNG = np.random.default_rng(0)

# images, channels, height, width, outputs, kernel, stride, padding, dilation, groups
SMALL = [
    (2, 3, 7, 9, 4, (3, 2), (1, 2), (1, 0), (1, 1), 1),
    (1, 4, 9, 8, 6, (3, 3), (2, 1), (2, 1), (1, 2), 2),
    (2, 6, 11, 7, 6, (5, 3), (3, 2), (0, 2), (2, 1), 6),
    (3, 5, 1, 1, 7, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    (1, 2, 3, 5, 2, (4, 1), (1, 1), (1, 0), (1, 1), 1),
    (1, 3, 6, 7, 2, (1, 2), (3, 4), (0, 1), (1, 3), 1),
    (1, 2, 5, 4, 3, (2, 4), (1, 1), (0, 1, 1, 2), (1, 1), 1),  # "same" for even kernels
    (1, 4, 6, 5, 2, (3, 2), (2, 3), (2, 0, 0, 3), (1, 2), 2),
]
LARGE = [
    (2, 33, 17, 40, 35, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (1, 3, 47, 53, 20, (11, 7), (4, 3), (2, 2), (1, 1), 1),
    (5, 40, 9, 8, 70, (1, 1), (2, 2), (0, 0), (1, 1), 2),
    (2, 16, 13, 11, 32, (4, 2), (1, 1), (1, 2, 0, 1), (1, 1), 1),
]


def four_sides(padding):
    """Return (top, bottom, left, right), also of (vertical, horizontal)."""
    return padding if len(padding) == 4 else (padding[0], padding[0], padding[1], padding[1])


def conv_shape(x_shape, weight, stride, padding, dilation, groups):
    return ConvShape(x_shape, weight, stride, four_sides(padding), dilation, groups)


def seven_loops(x, weight, bias, stride, padding, dilation, groups):
    """Convolve by the definition, in seven loops."""
    n, _, h, w = x.shape
    outputs, depth, kh, kw = weight.shape
    top, bottom, left, right = four_sides(padding)
    sizes = h + top + bottom, w + left + right
    grid = [(size - d * (k - 1) - 1) // s + 1 for size, k, s, d in zip(sizes, (kh, kw), stride, dilation)]
    out = np.zeros((n, outputs, *grid))
    for b, o, oy, ox in np.ndindex(*out.shape):
        out[b, o, oy, ox] = bias[o]
        for c, i, j in np.ndindex(depth, kh, kw):
            y, xx = (
                oy * stride[0] - top + i * dilation[0],
                ox * stride[1] - left + j * dilation[1],
            )
            if 0 <= y < h and 0 <= xx < w:
                out[b, o, oy, ox] += weight[o, c, i, j] * x[b, o // (outputs // groups) * depth + c, y, xx]
    return out


def draw(case, dtype=np.float64):
    n, c, h, w, o, kernel, *geometry = case
    x = RNG.normal(size=(n, c, h, w)).astype(dtype)
    weight = RNG.normal(size=(o, c // geometry[-1], *kernel)).astype(dtype)
    return x, weight, RNG.normal(size=o).astype(dtype), geometry


@pytest.mark.nojit
@pytest.mark.parametrize("case", SMALL, ids=str)
@pytest.mark.prange
def test_conv2d_is_its_definition(case):
    x, weight, bias, geometry = draw(case)
    out = conv2d(x, weight, bias, conv_shape(x.shape, weight.shape, *geometry))
    np.testing.assert_allclose(out, seven_loops(x, weight, bias, *geometry), atol=1e-12)


@pytest.mark.nojit
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_backward_passes_are_adjoint_to_the_forward_pass(case):
    """<conv(x, w), g> = <x, backward_input(g, w)> = <w, backward_weight(g, x)>, for a random g."""
    x, weight, _, geometry = draw(case)
    shape = conv_shape(x.shape, weight.shape, *geometry)
    out = conv2d(x, weight, None, shape)
    grad = RNG.normal(size=out.shape)
    inner = (out * grad).sum()
    assert (x * conv2d_backward_input(grad, weight, shape)).sum() == pytest.approx(inner, abs=1e-10)
    assert (weight * conv2d_backward_weight(grad, x, shape)).sum() == pytest.approx(inner, abs=1e-10)
    np.testing.assert_allclose(conv2d_backward_bias(grad), grad.sum((0, 2, 3)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", SMALL + LARGE, ids=str)
def test_all_three_passes_equal_pytorchs(case, dtype):
    torch = pytest.importorskip("torch")
    x, weight, bias, (stride, padding, *others) = draw(case, dtype)
    shape = conv_shape(x.shape, weight.shape, stride, padding, *others)
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, weight, bias)]
    top, bottom, left, right = four_sides(padding)
    padded = torch.nn.functional.pad(tensors[0], (left, right, top, bottom))
    theirs = torch.nn.functional.conv2d(padded, *tensors[1:], stride, 0, *others)
    grad = RNG.normal(size=theirs.shape).astype(dtype)
    theirs.backward(torch.tensor(grad))
    ours = (
        conv2d(x, weight, bias, shape),
        conv2d_backward_input(grad, weight, shape),
        conv2d_backward_weight(grad, x, shape),
        conv2d_backward_bias(grad),
    )
    for mine, reference in zip(ours, (theirs.detach(), *(t.grad for t in tensors))):
        scale = max(float(reference.abs().max()), 1e-30)
        assert mine.dtype == dtype
        assert np.abs(mine - reference.numpy()).max() / scale < (1e-13 if dtype == np.float64 else 3e-6)


@pytest.mark.parametrize("case", LARGE, ids=str)
def test_same_bits_for_any_number_of_threads(case):
    x, weight, bias, geometry = draw(case, np.float32)
    shape = conv_shape(x.shape, weight.shape, *geometry)
    results = []
    for threads in (1, 4):
        tc.set_num_threads(threads)
        out = conv2d(x, weight, bias, shape)
        gradients = conv2d_backward_input(out, weight, shape), conv2d_backward_weight(out, x, shape)
        results.append([a.tobytes() for a in (out, *gradients, matmul(out[0, :, 0], out[0, :, 0].T))])
    assert results[0] == results[1]


def test_strided_inputs_equal_their_copies():
    _, weight, bias, geometry = draw(SMALL[0])
    wide = RNG.normal(size=(2, 9, 7, 3)).transpose(0, 3, 2, 1)[:, ::-1]
    flipped = weight[::-1, :, ::-1]
    shape = conv_shape(wide.shape, flipped.shape, *geometry)
    expected = conv2d(wide.copy(), flipped.copy(), bias, shape)
    np.testing.assert_array_equal(conv2d(wide, flipped, bias, shape), expected)


def test_an_empty_batch_gives_empty_outputs_and_zero_gradients():
    x, weight = np.zeros((0, 3, 5, 6)), RNG.normal(size=(4, 3, 3, 3))
    shape = ConvShape.of(x.shape, weight.shape, padding=1)
    out = conv2d(x, weight, None, shape)
    assert out.shape == (0, 4, 5, 6)
    assert not conv2d_backward_weight(out, x, shape).any()
    assert conv2d_backward_input(out, weight, shape).shape == x.shape


@pytest.mark.nojit
@pytest.mark.parametrize("case", [case for case in SMALL if case[-1] == 1], ids=str)
def test_im2col_and_a_matrix_product_make_a_convolution(case):
    x, weight, _, geometry = draw(case)
    shape = conv_shape(x.shape, weight.shape, *geometry)
    columns, out = im2col(x, shape), conv2d(x, weight, None, shape)
    np.testing.assert_allclose(weight.reshape(len(weight), -1) @ columns, out.reshape(*out.shape[:2], -1), atol=1e-12)


@pytest.mark.nojit
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_col2im_is_the_adjoint_of_im2col(case):
    x, weight, _, geometry = draw(case)
    shape = conv_shape(x.shape, weight.shape, *geometry)
    columns = im2col(x, shape)
    other = RNG.normal(size=columns.shape)
    back = col2im(other, shape)
    assert (columns * other).sum() == pytest.approx((x * back).sum(), abs=1e-10)


MATRICES = [
    (1, 1, 1),
    (3, 4, 5),
    (17, 300, 65),
    (130, 7, 270),
    (16, 600, 33),
    (1101, 5, 2048),  # few sums, a large result
    (0, 3, 2),
    (2, 0, 3),
    (2, 3, 0),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", MATRICES, ids=str)
def test_matmul_equals_numpys_for_every_layout(sizes, dtype):
    m, k, n = sizes
    a, b = RNG.normal(size=(m, k)).astype(dtype), RNG.normal(size=(k, n)).astype(dtype)
    tolerance = (1e-13 if dtype == np.float64 else 1e-5) * max(k, 1)
    for left in (a, a.T.copy().T, a[::-1]):
        for right in (b, b.T.copy().T, b[:, ::-1]):
            out = matmul(left, right)
            assert out.dtype == dtype
            np.testing.assert_allclose(out, left @ right, atol=tolerance)


@pytest.mark.nojit
def test_matmul_without_compilation():
    a, b = RNG.normal(size=(7, 20)), RNG.normal(size=(20, 18))
    np.testing.assert_allclose(matmul(a, b), a @ b)


@pytest.mark.nojit
def test_a_large_matmul_without_compilation(monkeypatch):
    monkeypatch.setattr(import_module(matmul.__module__), "STREAMED_BYTES", 0)
    a, b = RNG.normal(size=(19, 3)), RNG.normal(size=(3, 64))
    np.testing.assert_allclose(matmul(a, b), a @ b)
