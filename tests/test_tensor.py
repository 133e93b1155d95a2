"""The engine: the graph, its order, its memory, and its errors."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

import tinycnn as tc
from tinycnn.autograd import Function
from tinycnn.tensor import Tensor


def leaf(*values, dtype=np.float64):
    return Tensor(np.array(values, dtype), requires_grad=True)


def live_tensors():
    gc.collect()
    return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())


class Square(Function):
    def forward(self, x):
        self.save(x)
        return x * x

    def backward(self, grad):
        (x,) = self.saved
        return 2 * x * grad


def test_a_tensor_used_twice_gets_the_sum():
    a = leaf(3.0)
    b = a + a
    c = b + b
    c.sum().backward()
    assert a.grad.tolist() == [4.0]


@pytest.mark.parametrize("uses", [1, 2, 3, 4])
def test_a_number_without_axes_sums_the_gradients_of_all_its_uses_in_an_array(uses):
    x = Tensor(np.asarray(3.0), requires_grad=True)
    square = x * x
    square.retain_grad()
    sum([square] * uses, start=square).backward()
    assert x.grad == 6 * (uses + 1) and square.grad == uses + 1
    (x * x).backward()
    assert x.grad == 6 * (uses + 2)
    assert isinstance(x.grad, np.ndarray) and isinstance(square.grad, np.ndarray)


def test_a_node_is_visited_after_all_its_uses():
    x = leaf(2.0)
    y = x * x
    z = y * x + y.exp() * y
    z.sum().backward()
    e = np.exp(4.0)
    assert x.grad[0] == pytest.approx(3 * 4 + (e * 4 + e) * 4)


def test_gradients_accumulate_over_backward_passes_until_reset():
    x = leaf(2.0)
    for expected in (4.0, 8.0):
        (x * x).sum().backward()
        assert x.grad.tolist() == [expected]
    x.grad = None
    (x * x).sum().backward()
    assert x.grad.tolist() == [4.0]


def test_leaves_do_not_share_a_gradient_array():
    a, b = leaf(1.0), leaf(1.0)
    (a + b).sum().backward()
    a.grad += 1
    assert b.grad.tolist() == [1.0]


def test_an_incoming_gradient_is_never_changed():
    x, seed = leaf(1.0, 2.0), np.ones(2)
    y = x + x
    z = y + y
    z.backward(seed)
    assert seed.tolist() == [1.0, 1.0]


def test_chain_of_ten_thousand_nodes():
    x = leaf(1.0)
    y = x
    for _ in range(10_000):
        y = y + 1e-4
    y.sum().backward()
    assert x.grad.tolist() == [1.0]


def test_a_long_graph_that_is_never_used_is_freed_without_recursion():
    y = leaf(1.0)
    first = None
    for _ in range(200_000):
        y = y * 1.0
        first = first or weakref.ref(y.grad_fn)
    assert first() is not None
    del y
    assert first() is None


def test_graph_is_freed_as_it_is_consumed_without_the_garbage_collector():
    before = live_tensors()
    gc.disable()
    try:
        x = leaf(*np.ones(8))
        middle = (x * x).exp()
        node = weakref.ref(middle.grad_fn)
        loss = middle.sum()
        del middle
        loss.backward()
        assert node() is None
        del loss, x
        assert sum(issubclass(type(thing), Tensor) for thing in gc.get_objects()) == before
    finally:
        gc.enable()


def test_a_forward_pass_leaves_no_cycles():
    gc.collect()
    gc.disable()
    try:
        y = (leaf(1.0, 2.0) * 3).sum()
        ref = weakref.ref(y)
        del y
        assert ref() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("gradient", ["x", 1j, [1, 2, [3]], [1, 2], {}])
def test_a_gradient_that_does_not_fit_is_called_by_its_name(gradient):
    x = tc.Tensor(np.ones(3, np.float32), requires_grad=True)
    with pytest.raises((TypeError, ValueError), match=r"^backward: gradient (is a|has shape)"):
        (x * 2).backward(gradient)
    assert x.grad is None


def test_second_backward_says_what_to_do():
    x = leaf(1.0)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.backward()
    assert x.grad.tolist() == [2.0]


def test_second_backward_through_a_shared_part_changes_nothing():
    x = leaf(3.0)
    shared = x * x
    shared.sum().backward()
    with pytest.raises(RuntimeError, match="already freed"):
        (shared * 2).sum().backward()
    assert x.grad.tolist() == [6.0]


def test_retain_graph_allows_another_pass():
    x = leaf(1.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [4.0]


def test_the_tensor_does_not_alias_the_callers_array():
    values = np.ones(3)
    x = Tensor(values, requires_grad=True)
    y = (x * x).sum()
    values[:] = 7
    y.backward()
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("data", [[1, 2], np.array([True]), np.array([1], np.uint8)])
def test_integers_cannot_require_gradients(data):
    with pytest.raises(TypeError, match="cannot require gradients; convert it to float"):
        Tensor(data, requires_grad=True)


def test_item_assignment_in_the_graph_says_what_to_do():
    x = leaf(1.0, 2.0)
    for tensor in (x, x * 2):
        with pytest.raises(RuntimeError, match=r"tc\.where, tc\.concatenate"):
            tensor[0] = 5.0
    with tc.no_grad():
        x[0] = 5.0
    assert x.data.tolist() == [5.0, 2.0]
    constant = Tensor([1.0, 2.0])
    constant[1] = 3.0
    assert constant.data.tolist() == [1.0, 3.0]


def test_no_grad_and_detach_leave_the_graph():
    x = leaf(1.0)
    with tc.no_grad():
        assert not (x * x).requires_grad
        with tc.enable_grad():
            assert (x * x).requires_grad
    assert not (x * x).detach().requires_grad
    y = (x * (x * x).detach()).sum()
    y.backward()
    assert x.grad.tolist() == [1.0]


def test_backward_needs_a_graph_a_scalar_or_a_gradient_that_fits():
    with pytest.raises(RuntimeError, match="does not require gradients"):
        Tensor([1.0]).backward()
    y = leaf(1.0, 2.0) * 2
    with pytest.raises(ValueError, match=r"shape \(2,\) needs backward\(gradient\)"):
        y.backward()
    with pytest.raises(ValueError, match=r"gradient has shape \(3,\), expected \(2,\)"):
        y.backward(np.ones(3))


def test_retain_grad_keeps_the_gradient_of_a_non_leaf():
    x = leaf(2.0)
    y = x * x
    y.retain_grad()
    (y * 3).sum().backward()
    assert y.grad.tolist() == [3.0]
    assert x.grad.tolist() == [12.0]


def test_post_accumulate_hooks_see_the_leafs_complete_gradient():
    x = tc.Tensor([1.0, 2.0], requires_grad=True)
    seen = []
    handle = x.register_post_accumulate_grad_hook(lambda leaf: seen.append(leaf.grad.tolist()))
    for _ in range(2):
        (x * x + 3 * x).sum().backward()
    assert seen == [[5.0, 7.0], [10.0, 14.0]]
    handle.remove()
    x.sum().backward()
    assert len(seen) == 2
    for tensor in (x * 2, tc.Tensor([1.0])):
        with pytest.raises(RuntimeError, match="not a leaf that requires gradients"):
            tensor.register_post_accumulate_grad_hook(print)


def test_hooks_see_the_whole_gradient_once_and_may_replace_it():
    x = leaf(1.0)
    y = x * 2
    seen = []
    y.register_hook(lambda grad: seen.append(grad.copy()))
    handle = x.register_hook(lambda grad: grad * 10)
    (y + y * 3).sum().backward()
    assert [s.tolist() for s in seen] == [[4.0]]
    assert x.grad.tolist() == [80.0]
    handle.remove()
    x.grad = None
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2.0]


def test_custom_function():
    x = leaf(1.0, -3.0)
    tc.gradcheck(Square.apply, [x])
    Square.apply(x).sum().backward()
    assert x.grad.tolist() == [2.0, -6.0]


def test_custom_function_errors_name_it():
    class Wrong(Square):
        def backward(self, grad):
            return np.ones((3, 3))

    class Many(Square):
        def backward(self, grad):
            return grad, grad

    with pytest.raises(RuntimeError, match=r"Wrong.backward returned a gradient of shape \(3, 3\) for .* \(2,\)"):
        Wrong.apply(leaf(1.0, 2.0)).sum().backward()
    with pytest.raises(RuntimeError, match=r"Many\.backward returned 2 gradients for 1 inputs"):
        Many.apply(leaf(1.0)).sum().backward()


def test_a_function_may_return_no_gradient():
    class Stop(Function):
        def forward(self, x):
            return x.copy()

        def backward(self, grad):
            return None

    x = leaf(2.0)
    (Stop.apply(x * x) + x).sum().backward()
    assert x.grad.tolist() == [1.0]


@pytest.mark.parametrize("shape", [(), (1,), (4, 1), (1, 3), (2, 1, 3), (4, 3)])
def test_broadcasting_is_undone(shape):
    x = Tensor(np.ones(shape), requires_grad=True)
    y = x * Tensor(np.ones((2, 4, 3)))
    y.backward(np.ones(y.shape))
    assert x.grad.shape == shape
    assert np.all(x.grad == y.size / x.size)


def test_float32_stays_float32():
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = (x * 2.0 + np.float64(1) - np.array(3.0).item()) / 3
    y.mean().backward()
    assert y.dtype == x.grad.dtype == np.float32
    assert (Tensor([1, 2]) / 2).dtype == np.float32
    assert Tensor(np.ones(2)).dtype == np.float64


def test_mixed_precision_gradients_have_the_dtype_of_their_tensor():
    a, b = Tensor([1.0], requires_grad=True), leaf(2.0)
    (a * b).sum().backward()
    assert a.grad.dtype == np.float32 and b.grad.dtype == np.float64


def test_repr_is_worth_reading():
    assert repr(Tensor([1.0, 2.0], requires_grad=True)) == (
        "Tensor([1., 2.], shape=(2,), dtype=float32, requires_grad=True)"
    )
    assert "grad_fn=Mul" in repr(leaf(1.0) * 2)
    big = Tensor(np.linspace(0, 1, 100))
    big.data[3] = np.nan
    assert repr(big) == "Tensor(0 to 1, mean 0.5047, 1 not finite, shape=(100,), dtype=float64)"


def test_unsupported_data_and_device_are_named():
    with pytest.raises(TypeError, match="dtype float16, expected float32, float64"):
        Tensor(np.ones(2, np.float16))


def test_arrays_on_the_left_defer_to_the_tensor():
    y = np.ones(2, np.float32) * Tensor([1.0, 2.0])
    assert isinstance(y, Tensor) and y.data.tolist() == [1.0, 2.0]


# -- who may write to a gradient ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [tc.nn.ReLU(), tc.nn.BatchNorm2d(3)], ids=lambda layer: type(layer).__name__)
def test_a_backward_pass_writes_only_to_gradients_that_nobody_holds(layer):
    x, weights = np.random.default_rng(0).normal(size=(2, 4, 3, 50, 40))
    # Gradients of batch norm are changed in place only where they are channels_last.
    x, weights = (array.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2) for array in (x, weights))
    x = tc.Tensor(x, requires_grad=True)
    layer.to("float64")

    def gradient(watch):
        x.grad = None
        inner = x * 2
        outer = layer(inner)
        seen = watch(outer)
        (outer * weights).sum().backward()
        return x.grad, seen

    plain, _ = gradient(lambda outer: None)

    def hold(outer):
        kept = []
        outer.register_hook(lambda grad: kept.append((grad, grad.copy())))
        return kept

    hooked, ((given, copied),) = gradient(hold)
    np.testing.assert_array_equal(given, copied)
    np.testing.assert_array_equal(hooked, plain)

    def retain(outer):
        outer.retain_grad()
        return outer

    retained, outer = gradient(retain)
    np.testing.assert_array_equal(outer.grad, copied)
    np.testing.assert_array_equal(retained, plain)


# -- meeting NumPy -----------------------------------------------------------------------------------------------------


def test_numpy_reads_a_tensor_but_does_not_end_a_graph_unseen():
    x = tc.Tensor([[1.0, 2.0]])
    assert np.asarray(x) is x.data
    assert np.concatenate([x, x]).tolist() == [[1, 2], [1, 2]]
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    for needs in (tc.Tensor([1.0], requires_grad=True), tc.Tensor([1.0], requires_grad=True) * 2):
        with pytest.raises(TypeError, match=r"requires gradients .* use tensor.numpy\(\)"):
            np.asarray(needs)
        with pytest.raises(TypeError, match="requires gradients"):
            tc.Tensor([needs, needs])


# -- copies and text ---------------------------------------------------------------------------------------------------

COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle-{n}": lambda x, n=n: pickle.loads(pickle.dumps(x, n)) for n in range(pickle.HIGHEST_PROTOCOL + 1)},
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("make", [leaf, lambda *v: tc.nn.Parameter(np.array(v)), lambda *v: Tensor(np.array(v, int))])
def test_leaves_can_be_copied_and_pickled(how, make):
    x = make(1.0, 2.0)
    if x.requires_grad:
        (x * x).sum().backward()
        x.register_hook(lambda grad: grad * 100)
    twin = COPIES[how](x)
    assert type(twin) is type(x) and twin.is_leaf and twin.requires_grad == x.requires_grad
    assert twin.dtype == x.dtype and twin.data.tolist() == x.data.tolist()
    assert (twin.data is x.data) == (how == "copy")
    if x.requires_grad:
        assert twin.grad.tolist() == [2, 4]
        (twin * twin).sum().backward()
        assert twin.grad.tolist() == [4, 8] and x.grad.tolist() == [2, 4]


def test_a_deepcopy_keeps_what_is_shared_and_what_a_subclass_adds():
    class Named(Tensor):
        pass

    x = Named([1.0], requires_grad=True)
    x.name = ["weight"]
    first, second = copy.deepcopy([x, x])
    assert first is second and first.name == ["weight"] and first.name is not x.name


class Tagged(tc.nn.Parameter):
    __slots__ = ("tag", "unset")


@pytest.mark.parametrize("how", COPIES)
def test_copies_keep_the_slots_of_a_subclass(how):
    x = Tagged(np.ones(2, np.float32))
    x.tag = ["head"]
    twin = COPIES[how](x)
    assert twin.tag == ["head"] and not hasattr(twin, "unset") and twin.requires_grad


class Owned(Tensor):
    pass


@pytest.mark.parametrize("how", COPIES)
def test_a_tensor_whose_attribute_holds_it_is_copied(how):
    x = Owned([1.0], requires_grad=True)
    x.owner = {"tensor": x}
    twin = COPIES[how](x)
    assert twin.owner["tensor"] is (x if how == "copy" else twin)


@pytest.mark.parametrize("how", COPIES)
def test_a_tensor_inside_a_graph_says_what_to_do_instead_of_a_copy(how):
    loss = (leaf(1.0) * 2).sum()
    with pytest.raises(RuntimeError, match=r"inside a graph \(Sum, shape \(\)\) .* x\.detach\(\)"):
        COPIES[how](loss)


def test_a_tensor_of_one_element_formats_as_its_number():
    loss = (leaf(1.25) * 2).sum()
    assert f"{loss:.3f}" == "2.500" and f"{leaf(2.5):6.1f}" == "   2.5" and "%.2f" % loss == "2.50"  # noqa: UP031
    assert f"{loss}" == str(loss) and f"{leaf(1.0, 2.0)}" == str(leaf(1.0, 2.0))
    with pytest.raises((TypeError, ValueError)):
        f"{leaf(1.0, 2.0):.3f}"
