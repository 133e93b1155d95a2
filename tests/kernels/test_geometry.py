"""The shapes of convolutions and poolings: what fits together, and padding that is not the same on both sides."""

import dataclasses

import numpy as np
import pytest

import tinycnn as tc
from tests.kernels.test_convolution import seven_loops
from tinycnn import functional as F
from tinycnn.kernels.geometry import ConvShape, PoolShape

IMAGE, WEIGHT = (2, 4, 7, 6), (6, 2, 3, 3)


def test_a_shape_of_the_same_arguments_is_the_same_object():
    shape = ConvShape.of(IMAGE, WEIGHT, 2, 1, groups=2)
    assert shape is ConvShape.of(IMAGE, WEIGHT, (2, 2), (1, 1), 1, np.int64(2))
    assert PoolShape.of(IMAGE, 2) is PoolShape.of(IMAGE, (2, 2), 2, 0, 1, False)
    assert shape == ConvShape(IMAGE, WEIGHT, (2, 2), (1, 1, 1, 1), (1, 1), 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        shape.stride = (1, 1)


@pytest.mark.parametrize("value", [True, 2.0, (2, 2.0), (True, 2), "2", (2, 2, 2)])
@pytest.mark.parametrize("name", ["stride", "padding", "dilation", "groups"])
def test_numbers_that_equal_an_integer_are_refused_also_after_that_integer(name, value):
    usual = {"groups": 2, name: 2}
    ConvShape.of(IMAGE, WEIGHT, **usual)
    with pytest.raises(ValueError, match=f"conv2d: {name} is"):
        ConvShape.of(IMAGE, WEIGHT, **usual | {name: value})


WRONG = [
    {"input": (2, 4, -7, 6)},
    {"input": (2, 4, 7)},
    {"input": [2, 4, 7, 6]},
    {"input": (2, 5, 7, 6)},
    {"input": (2, 4, 2, 6)},
    {"weight": (6, 2, 3)},
    {"weight": (6, 2, 0, 3)},
    {"weight": (5, 2, 3, 3)},
    {"stride": (0, 1)},
    {"stride": 1},
    {"padding": (1, 1)},
    {"padding": (0, 0, -1, 0)},
    {"dilation": (2**40, 1)},
    {"groups": 0},
    {"groups": 2.0},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_no_shape_exists_that_does_not_fit_together(wrong):
    good = {"input": IMAGE, "weight": WEIGHT, "groups": 2}
    assert ConvShape(**good).output == (2, 6, 5, 4)
    with pytest.raises(ValueError):
        ConvShape(**good | wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"input": (2, 4, 1, 6)},
        {"kernel_size": (0, 2)},
        {"kernel_size": 2},
        {"stride": (1, 1, 1)},
        {"padding": (1, 1, 1, 2)},
        {"padding": (2, 1, 1, 1)},
        {"dilation": (7, 1)},
    ],
    ids=str,
)
def test_no_pooling_exists_that_does_not_fit_together(wrong):
    good = {"input": IMAGE, "kernel_size": (2, 2), "stride": (2, 2)}
    assert PoolShape(**good).output == (2, 4, 3, 3)
    with pytest.raises(ValueError):
        PoolShape(**good | wrong)


# -- "same" ------------------------------------------------------------------------------------------------------------

# input, weight, dilation, groups, algorithms
SAME = [
    ((2, 3, 5, 6), (4, 3, 2, 2), (1, 1), 1, ("auto", "im2col", "direct")),
    ((1, 4, 7, 5), (6, 2, 4, 3), (1, 2), 2, ("auto", "im2col", "direct")),
    ((2, 2, 6, 3), (3, 2, 3, 6), (3, 1), 1, ("auto", "im2col", "direct")),
    ((2, 16, 7, 6), (16, 16, 3, 3), (1, 1), 1, ("auto", "im2col", "direct", "winograd")),
    ((1, 16, 6, 9), (32, 16, 5, 5), (1, 1), 1, ("auto", "im2col", "direct", "winograd")),
]


def same(dilation, weight):
    """Return the padding (top, bottom, left, right): where it is odd, the pixel more is at the end."""
    spans = [d * (k - 1) for d, k in zip(dilation, weight[2:])]
    return tuple(side for span in spans for side in (span // 2, (span + 1) // 2))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # PyTorch's, about its speed
@pytest.mark.parametrize("kernels", ["fast", "reference"])
@pytest.mark.parametrize("case", SAME, ids=str)
def test_same_padding_is_its_definition_and_pytorchs(case, kernels):
    x_shape, weight, dilation, groups, algorithms = case
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=size) for size in (x_shape, weight, weight[:1])]
    expected = seven_loops(*arrays, (1, 1), same(dilation, weight), dilation, groups)
    assert expected.shape[2:] == x_shape[2:]
    for algorithm in algorithms if kernels == "fast" else ["auto"]:
        tensors = [tc.Tensor(array, requires_grad=True) for array in arrays]
        with tc.use_kernels(kernels), tc.convolution_algorithm(algorithm):
            out = F.conv2d(*tensors, padding="same", dilation=dilation, groups=groups)
            np.testing.assert_allclose(out.data, expected, atol=1e-11)
        grad = rng.normal(size=expected.shape)
        out.backward(grad)
        inner = ((expected - arrays[2][:, None, None]) * grad).sum()
        for tensor in tensors[:2]:  # the adjoint identity: the convolution is linear in each factor
            assert (tensor.data * tensor.grad).sum() == pytest.approx(inner, abs=1e-9)
        torch = pytest.importorskip("torch")
        theirs = [torch.tensor(array, requires_grad=True) for array in arrays]
        result = torch.nn.functional.conv2d(*theirs, padding="same", dilation=dilation, groups=groups)
        result.backward(torch.tensor(grad))
        np.testing.assert_allclose(out.data, result.detach().numpy(), atol=1e-11)
        for ours, other in zip(tensors, theirs):
            np.testing.assert_allclose(ours.grad, other.grad.numpy(), atol=1e-10)


def test_a_layer_with_same_padding_takes_even_kernels():
    layer = tc.nn.Conv2d(3, 2, (2, 4), padding="same", dilation=(1, 3))
    image = tc.Tensor(np.random.default_rng(0).normal(size=(1, 3, 5, 11)).astype(np.float32))
    expected = seven_loops(image.data, layer.weight.data, layer.bias.data, (1, 1), (0, 1, 4, 5), (1, 3), 1)
    np.testing.assert_allclose(layer(image).data, expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"Conv2d: padding is 'same' and stride \(2, 1\), expected stride 1"):
        tc.nn.Conv2d(3, 2, 3, stride=(2, 1), padding="same")
