"""Operations at the edges of their domains, each subset of gradients, and the numbers that PyTorch gives there."""

import itertools
import math

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import functional as F

RNG = np.random.default_rng(0)


def leaf(values, dtype=np.float64, grad=True):
    return tc.Tensor(np.array(values, dtype), requires_grad=grad)


# -- each subset of inputs requires gradients --------------------------------------------------------------------------

SEVERAL = {
    "add": (lambda a, b: a + b, (3,), (2, 3)),
    "sub": (lambda a, b: a - b, (2, 3), (3,)),
    "mul": (lambda a, b: a * b, (2, 3), (2, 3)),
    "div": (lambda a, b: a / b, (2, 3), (3,)),
    "pow": (lambda a, b: a**b, (3,), (3,)),
    "maximum": (tc.maximum, (4,), (4,)),
    "where": (lambda a, b: tc.where(np.array([True, False]), a, b), (2,), (2,)),
    "matmul": (lambda a, b: a @ b, (2, 3), (3, 4)),
    "batched matmul": (lambda a, b: a @ b, (2, 2, 3), (3, 4)),
    "linear": (F.linear, (2, 3), (4, 3), (4,)),
    "concatenate": (lambda a, b: tc.concatenate([a, b]), (2, 3), (1, 3)),
    "stack": (lambda a, b: tc.stack([a, b]), (2,), (2,)),
    **{
        f"conv2d {algorithm}": (
            lambda x, w, b, algorithm=algorithm: F.conv2d(x, w, b, padding=1, algorithm=algorithm),
            (1, 16, 5, 5),
            (16, 16, 3, 3),
            (16,),
        )
        for algorithm in ("im2col", "direct", "winograd")
    },
    "batch_norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), (3, 2, 2, 2), (2,), (2,)),
    "batch_norm in evaluation": (
        lambda x, w, b: F.batch_norm(x, np.zeros(2), np.ones(2), w, b),
        (3, 2, 2, 2),
        (2,),
        (2,),
    ),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_each_subset_of_inputs_gets_its_gradients(name):
    function, *shapes = SEVERAL[name]
    values = [np.random.default_rng(len(shape)).uniform(0.5, 2, shape) for shape in shapes]
    whole = [tc.Tensor(value, requires_grad=True) for value in values]
    out = function(*whole)
    cotangent = np.random.default_rng(9).normal(size=out.shape)
    out.backward(cotangent)
    for subset in itertools.product([True, False], repeat=len(values)):
        if any(subset):
            tensors = [tc.Tensor(value, requires_grad=needed) for value, needed in zip(values, subset)]
            function(*tensors).backward(cotangent)
            for tensor, full, needed in zip(tensors, whole, subset):
                if needed:
                    np.testing.assert_allclose(tensor.grad, full.grad, rtol=1e-12, atol=1e-12)
                else:
                    assert tensor.grad is None


# -- gradients at bounds, ties and repeats -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        ((slice(None), [0, 0, 2]), [[2, 0, 1], [2, 0, 1]]),
        (([1, 1], slice(None)), [[0, 0, 0], [2, 2, 2]]),
        (([0, 0], [1, 1]), [[0, 2, 0], [0, 0, 0]]),
        ((..., np.array([2, 2, 2])), [[0, 0, 3], [0, 0, 3]]),
        ((0, [0, 0]), [[2, 0, 0], [0, 0, 0]]),
        ((np.array([True, False]), slice(1)), [[1, 0, 0], [0, 0, 0]]),
        ([], [[0, 0, 0], [0, 0, 0]]),
    ],
    ids=str,
)
def test_elements_that_an_index_takes_several_times_get_the_sum(index, expected):
    x = leaf(np.ones((2, 3)))
    x[index].sum().backward()
    assert x.grad.tolist() == expected


def test_powers_of_zero():
    base, exponent = leaf([0, 0, 0, 2]), leaf([0, 1, 3, 2])
    (base**exponent).sum().backward()
    assert base.grad.tolist() == [0, 1, 0, 4]
    np.testing.assert_allclose(exponent.grad, [0, 0, 0, 4 * math.log(2)])


def test_clip_passes_gradients_on_its_bounds():
    x = leaf([-2, -1, 0, 1, 2, np.nan])
    y = x.clip(-1, 1)
    y.sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 0, 0]
    assert y.data[:5].tolist() == [-1, -1, 0, 1, 1] and np.isnan(y.data[5])


def test_the_gradient_of_max_goes_to_nan_and_is_shared_by_equals():
    for values, expected in (([1, 3, 3], [0, 0.5, 0.5]), ([1, np.nan, 3], [0, 1, 0])):
        x = leaf(values)
        x.max().backward()
        assert x.grad.tolist() == expected


# -- a tensor without dimensions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [0, -1])
def test_reductions_of_a_tensor_without_dimensions(dim):
    x = leaf(3.0)
    assert F.softmax(x, dim).item() == 1 and F.log_softmax(x, dim).item() == 0
    assert x.sum(dim).item() == x.mean(dim).item() == 3
    values, indices = x.max(dim)
    assert values.item() == 3 and indices.item() == 0 and x.argmax(dim).item() == 0
    for y in (F.softmax(x, dim), F.log_softmax(x, dim), x.sum(dim), x.mean(dim), values):
        assert y.shape == ()
        x.grad = None
        y.backward(1.0)
        assert x.grad.shape == ()
    for function in (x.sum, x.mean, x.max, x.argmax, lambda d: F.softmax(x, d)):
        with pytest.raises(ValueError, match="dim is 1, expected -1 to 0"):
            function(1)


@pytest.mark.parametrize("dim", [1.5, "0", True, None.__class__])
def test_a_dimension_is_an_integer(dim):
    with pytest.raises(TypeError, match="dim is"):
        leaf([1.0]).sum(dim)
    with pytest.raises(TypeError, match="dim is"):
        F.softmax(leaf([1.0]), dim)


def test_a_dimension_comes_once():
    with pytest.raises(ValueError, match="expected each dimension once"):
        leaf(np.ones((2, 2))).sum((0, -2))
    assert leaf(np.ones((2, 3))).sum([0, 1]).item() == 6


# -- losses ------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
def test_an_ignored_sample_may_have_an_impossible_class():
    x = leaf([[-np.inf, 0.0], [-1.0, -2.0]])
    loss = F.nll_loss(x, [-100, 1])
    loss.backward()
    assert loss.item() == 2 and x.grad.tolist() == [[0, 0], [0, -1]]
    none = F.nll_loss(leaf([[-np.inf, 0.0], [-1.0, -2.0]]), [-100, 1], reduction="none")
    assert none.data.tolist() == [0, 2]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("loss", [F.nll_loss, F.cross_entropy])
def test_a_mean_over_ignored_targets_only_is_nan_and_a_sum_is_zero(loss):
    x = leaf([[0.0, 1.0], [2.0, 1.0]])
    assert np.isnan(loss(x, [-100, -100]).item())
    assert loss(x, [-100, -100], reduction="sum").item() == 0
    loss(x, [-100, -100], reduction="sum").backward()
    assert x.grad.tolist() == [[0, 0], [0, 0]]


def test_a_class_may_be_ignored():
    x = leaf(np.log([[0.25, 0.75], [0.5, 0.5]]))
    assert F.cross_entropy(x, [0, 1], ignore_index=0).item() == pytest.approx(math.log(2))
    with pytest.raises(TypeError, match=r"ignore_index is 1\.5"):
        F.cross_entropy(x, [0, 1], ignore_index=1.5)


@pytest.mark.parametrize("target", [[0, 2], [-1, 0], [2**40, 0], np.array([2**63], np.uint64).repeat(2)])
def test_a_target_outside_the_classes_is_named(target):
    with pytest.raises(ValueError, match=r"target is -?\d+ at index 0|target is 2 at index 1"):
        F.cross_entropy(leaf(np.ones((2, 2))), target)


# -- dtypes ------------------------------------------------------------------------------------------------------------

DOUBLE, SINGLE = np.ones((2, 3)), np.ones((2, 3), np.float32)
MIXED = {
    "linear": lambda a, b: F.linear(a, b),
    "linear bias": lambda a, b: F.linear(a, a, tc.Tensor(np.ones(2, b.dtype))),
    "matmul": lambda a, b: a @ b.T,
    "mse_loss": lambda a, b: F.mse_loss(a, b),
    "batch_norm": lambda a, b: F.batch_norm(a, None, None, tc.Tensor(np.ones(3, b.dtype)), None, True),
    "conv2d": lambda a, b: F.conv2d(a.reshape(1, 1, 2, 3), b.reshape(1, 1, 2, 3)),
}


@pytest.mark.parametrize("name", MIXED)
@pytest.mark.parametrize("swapped", [False, True])
def test_layers_and_losses_do_not_mix_dtypes(name, swapped):
    a, b = (tc.Tensor(v, requires_grad=True) for v in ((SINGLE, DOUBLE) if swapped else (DOUBLE, SINGLE)))
    with pytest.raises(TypeError, match=r"float32.*float64|float64.*float32"):
        MIXED[name](a, b)


@pytest.mark.parametrize("dtype", [np.float16, np.complex64, object, "U3", np.longdouble])
def test_a_tensor_cannot_be_converted_to_what_it_cannot_be(dtype):
    with pytest.raises(TypeError, match="astype: dtype is"):
        leaf([1.0]).astype(dtype)


def test_a_tensor_of_the_graph_does_not_leave_it_by_a_conversion():
    x = leaf([1.5])
    with pytest.raises(TypeError, match="the graph would end there"):
        (x * 2).astype(int)
    assert (x * 2).detach().astype(int).data.tolist() == [3]
    with tc.no_grad():
        assert (x * 2).astype(int).data.tolist() == [3]


@pytest.mark.parametrize("function", [F.relu, F.softmax, F.max_pool2d, F.linear], ids=lambda f: f.__name__)
@pytest.mark.parametrize("value", [np.ones((1, 1, 4, 4), int), np.ones((1, 1, 4, 4), bool), "text", None])
def test_what_is_not_a_tensor_of_floats_is_named(function, value):
    arguments = {F.max_pool2d: (2,), F.linear: (leaf(np.ones((2, 4))),)}.get(function, ())
    with pytest.raises(TypeError, match=f"{function.__name__}: input (has dtype|is a)"):
        function(value, *arguments)


def test_flatten_of_an_array_is_a_tensor_and_of_text_an_error():
    assert tc.nn.Flatten()(np.ones((2, 3, 4))).shape == (2, 12)
    with pytest.raises(TypeError, match="Flatten: input is a str, expected a Tensor"):
        tc.nn.Flatten()("text")


# -- sizes -------------------------------------------------------------------------------------------------------------

IMAGE = leaf(np.ones((1, 2, 5, 5)))
WINDOWS = {
    "conv2d": lambda name, value: F.conv2d(IMAGE, leaf(np.ones((2, 2, 3, 3))), **{name: value}),
    "max_pool2d": lambda name, value: F.max_pool2d(IMAGE, **{"kernel_size": 2, name: value}),
    "avg_pool2d": lambda name, value: F.avg_pool2d(IMAGE, **{"kernel_size": 2, name: value}),
}
SIZES = [2**62, -1, 1.5, True, "2", (1, 2, 3), (1,), None.__class__, (2**62, 1), (1, True)]


@pytest.mark.parametrize("value", SIZES, ids=str)
@pytest.mark.parametrize(
    ("function", "name"),
    [
        *(("conv2d", name) for name in ("stride", "padding", "dilation", "groups")),
        *(("max_pool2d", name) for name in ("kernel_size", "stride", "padding", "dilation")),
        *(("avg_pool2d", name) for name in ("kernel_size", "stride", "padding")),
    ],
)
def test_sizes_that_make_no_sense_are_named(function, name, value):
    with pytest.raises((TypeError, ValueError), match=function):
        WINDOWS[function](name, value)


@pytest.mark.parametrize("padding", [(0, 2), (2, 0), 2])
def test_padding_of_a_pooling_window_is_at_most_half_of_it_in_each_direction(padding):
    for pool in (F.max_pool2d, F.avg_pool2d):
        with pytest.raises(ValueError, match="padding"):
            pool(IMAGE, 3, padding=padding)


def test_empty_batches():
    assert F.linear(leaf(np.ones((0, 3))), leaf(np.ones((2, 3)))).shape == (0, 2)
    assert F.linear(leaf(np.ones((2, 0))), leaf(np.ones((4, 0)))).data.tolist() == [[0] * 4] * 2
    assert F.linear(leaf(np.ones(3)), leaf(np.ones((2, 3)))).shape == (2,)
    assert F.conv2d(leaf(np.ones((0, 2, 5, 5))), leaf(np.ones((3, 2, 3, 3)))).shape == (0, 3, 3, 3)
    assert F.max_pool2d(leaf(np.ones((0, 2, 4, 4))), 2).shape == (0, 2, 2, 2)


@pytest.mark.parametrize(("shape", "kernel"), [((1, 9), (2, 2)), ((1, 1), (2, 2)), ((9, 1), (3, 2)), ((2, 2), (3, 3))])
def test_ceil_mode_has_one_window_for_an_image_smaller_than_it(shape, kernel):
    values = np.random.default_rng(1).normal(size=(1, 1, *shape))
    x = leaf(values)
    out = F.max_pool2d(x, kernel, ceil_mode=True)
    rows, columns = (-(-n // k) for n, k in zip(shape, kernel))
    expected = [
        [
            values[0, 0, i * kernel[0] : (i + 1) * kernel[0], j * kernel[1] : (j + 1) * kernel[1]].max()
            for j in range(columns)
        ]
        for i in range(rows)
    ]
    np.testing.assert_array_equal(out.data[0, 0], expected)
    out.sum().backward()
    assert x.grad.sum() == rows * columns
