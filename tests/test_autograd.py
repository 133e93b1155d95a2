"""The backward pass: hooks, gradients given by hand, threads, warnings."""

import os
import sys
import threading

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import functional as F
from tinycnn import nn


def leaf(*shape):
    return tc.Tensor(np.ones(shape, np.float32), requires_grad=True)


# -- hooks -------------------------------------------------------------------------------------------------------------

IMAGE = (2, 16, 8, 8)
LAYERS = {
    "conv2d": lambda x: F.conv2d(x, leaf(16, 16, 3, 3)),
    "max_pool2d": lambda x: F.max_pool2d(x, 2),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 2),
    "softmax": lambda x: F.softmax(x, 1),
    "relu": F.relu,
    "sigmoid": F.sigmoid,
    "batch_norm": lambda x: F.batch_norm(x, None, None, training=True),
    "add": lambda x: x + 1,
    "reshape": lambda x: x.reshape(-1),
}
WRONG_SHAPES = [lambda g: g[:1], lambda g: g[..., None], lambda g: g.sum(), lambda g: g.reshape(-1, 1), lambda g: []]


@pytest.mark.parametrize("wrong", WRONG_SHAPES)
@pytest.mark.parametrize("name", LAYERS)
def test_a_hook_that_returns_another_shape_is_named(name, wrong):
    x = leaf(*IMAGE)
    y = LAYERS[name](x * 1)

    def shrink(grad):
        return wrong(grad)

    y.register_hook(shrink)
    with pytest.raises(ValueError, match=r"hook .*shrink: .* has shape .*, expected \("):
        y.sum().backward()
    assert x.grad is None


@pytest.mark.parametrize("wrong", WRONG_SHAPES)
def test_a_leafs_hook_that_returns_another_shape_is_named(wrong):
    x = leaf(4, 4)
    x.register_hook(wrong)
    with pytest.raises(ValueError, match=r"hook .*: .* a leaf .* has shape .*, expected \(4, 4\)"):
        (x * 2).sum().backward()
    assert x.grad is None


@pytest.mark.parametrize("wrong", ["text", 1j * np.ones(2), np.array([None, None]), object()])
def test_a_hook_returns_real_numbers(wrong):
    x = leaf(2)
    y = x * 2
    y.register_hook(lambda grad: wrong)
    with pytest.raises(TypeError, match="expected real numbers"):
        y.sum().backward()


@pytest.mark.parametrize("scale", [np.float64(3), np.int64(3), tc.Tensor([3.0, 3.0])], ids=["float64", "int", "tensor"])
def test_a_hooks_result_is_converted_to_the_gradients_dtype(scale):
    x = leaf(2)
    y = x * 2
    y.register_hook(lambda grad: scale * grad)
    x.register_hook(lambda grad: scale * grad)
    y.sum().backward()
    assert x.grad.dtype == np.float32 and x.grad.tolist() == [18, 18]


def test_a_hook_cannot_write_to_a_gradient_that_others_share():
    a, b = leaf(3), leaf(3)
    left = a * 1

    def double(grad):
        grad *= 2

    left.register_hook(double)
    with pytest.raises(ValueError, match="read-only"):
        ((left + b) * 3).sum().backward()


def test_hooks_may_return_what_they_got_or_a_view_of_it():
    x = leaf(2, 2)
    y = x * 2
    y.register_hook(lambda grad: grad)
    y.register_hook(lambda grad: grad.T)
    x.register_hook(lambda grad: grad)
    y.sum().backward()
    x.grad += 1
    assert x.grad.tolist() == [[3, 3], [3, 3]]


def test_a_leafs_hook_does_not_hold_its_grad():
    x, kept = leaf(3), []
    x.register_hook(kept.append)
    (x * 2).sum().backward()
    x.grad += 5
    assert kept[0].tolist() == [2, 2, 2]


@pytest.mark.parametrize("register", ["register_hook", "register_post_accumulate_grad_hook"])
def test_a_hook_must_be_callable(register):
    with pytest.raises(TypeError, match="hook is 3, expected a function"):
        getattr(leaf(2), register)(3)


# -- gradients given by hand -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.ones((3, 4), np.float32), tc.Tensor(np.ones((3, 4), np.float32))])
def test_grad_takes_arrays_and_tensors(value):
    p = nn.Parameter(np.zeros((3, 4), np.float32))
    p.grad = value
    assert type(p.grad) is np.ndarray and p.grad.tolist() == np.ones((3, 4)).tolist()
    p.grad = None
    assert p.grad is None


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (np.ones((4, 3), np.float32), ValueError, r"grad: .* shape \(4, 3\), expected \(3, 4\)"),
        (np.ones(1, np.float32), ValueError, r"grad: .* shape \(1,\), expected \(3, 4\)"),
        (tc.Tensor(np.ones(12)), ValueError, r"grad: .* shape \(12,\)"),
        (np.ones((3, 4)), ValueError, r"grad: .* dtype float64, expected float32"),
        (np.ones((3, 4), int), ValueError, r"grad: .* dtype int64, expected float32"),
        (np.ones((3, 4), complex), TypeError, "expected real numbers"),
        ("text", TypeError, "expected real numbers"),
        (2.0, ValueError, r"shape \(\), expected"),
    ],
)
def test_grad_refuses_what_does_not_fit(value, error, words):
    p = nn.Parameter(np.zeros((3, 4), np.float32))
    p.grad = kept = np.ones((3, 4), np.float32)
    with pytest.raises(error, match=words):
        p.grad = value
    assert p.grad is kept


def test_grad_of_a_tensor_without_dimensions_may_be_scaled():
    x = tc.Tensor(np.float32(3), requires_grad=True)
    (x * x).backward()
    x.grad = x.grad * 2
    x.grad += 1
    assert isinstance(x.grad, np.ndarray) and x.grad == 13 and x.grad.dtype == np.float32


def test_a_gradient_does_not_broadcast_into_a_grad_of_another_shape():
    x = leaf(1)
    (x * 2).sum().backward()
    x.data = np.ones(3, np.float32)
    with pytest.raises(ValueError, match=r"shape \(3,\) cannot be added to grad of shape \(1,\)"):
        (x * 2).sum().backward()


# -- threads -----------------------------------------------------------------------------------------------------------


def test_threads_that_call_backward_at_once_add_all_contributions():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        w = leaf(4)
        shared = w * 1.0
        shared.retain_grad()

        def work():
            for _ in range(100):
                (w * 1.0).sum().backward()
                shared.sum().backward(retain_graph=True)

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert w.grad.tolist() == [1200] * 4
    assert shared.grad.tolist() == [600] * 4


def test_who_owns_a_gradient_is_known_in_each_thread():
    """In one graph with two threads the gradient that a user gave stays as it is."""
    x = tc.Tensor(np.random.default_rng(0).normal(size=(64, 512)).astype(np.float32), requires_grad=True)
    y = F.relu(x * 1)
    loss = y.sum()
    given = np.ones(y.shape, np.float32)

    def work(tensor, gradient):
        for _ in range(20):
            tensor.backward(gradient, retain_graph=True)

    threads = [threading.Thread(target=work, args=arguments) for arguments in ((y, given), (loss, None))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (given == 1).all()
    np.testing.assert_array_equal(x.grad, 40 * (x.data > 0))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_forked_while_a_gradient_is_added_can_add_its_own():
    from tinycnn import gradients

    held, release = threading.Event(), threading.Event()

    def hold():
        with gradients.adding.held:
            held.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    child = os.fork()
    if child == 0:
        x = leaf(2)
        timer = threading.Timer(10, os._exit, (1,))
        timer.daemon = True
        timer.start()
        (x * 2).sum().backward()
        os._exit(0 if x.grad.tolist() == [2, 2] else 2)
    release.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_backward_pass_inside_a_backward_pass():
    class Inner(tc.Function):
        def forward(self, x):
            self.save(x)
            return x * 1.0

        def backward(self, grad):
            before = self.owns_grad
            inner = tc.Tensor(self.saved[0], requires_grad=True)
            (inner * inner).sum().backward()
            assert self.owns_grad == before
            return grad * inner.grad

    x = tc.Tensor([3.0], requires_grad=True)
    y = Inner.apply(x)
    y.backward(np.ones(1, np.float32))
    assert x.grad.tolist() == [6]


# -- numbers that are not finite ---------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
def test_no_operation_warns():
    big = tc.Tensor(np.array([0.0, -1.0, np.inf, np.nan, 3e38], np.float32), requires_grad=True)
    loss = (big * big + big - big / big).sum() + (big.exp() + big.sqrt() + big.log() + big**0.5).sum()
    loss.backward(np.float32(3e38))
    assert big.grad.shape == (5,)


@pytest.mark.parametrize("returned", [np.ones(3) * 1j, np.array([1, 2, None]), np.array(["a", "b", "c"])])
def test_results_of_functions_that_are_not_real_numbers_are_refused(returned):
    class Backward(tc.autograd.Function):
        def forward(self, x):
            return x * 2

        def backward(self, grad):
            return returned

    class Forward(tc.autograd.Function):
        def forward(self, x):
            return returned

    x = tc.Tensor(np.ones(3, np.float32), requires_grad=True)
    with pytest.raises(TypeError, match=r"Backward\.backward returned a gradient of dtype .*expected real numbers"):
        Backward.apply(x).sum().backward()
    assert x.grad is None
    with pytest.raises(TypeError, match=r"Forward\.forward returned .*expected an array of numbers"):
        Forward.apply(x)


@pytest.mark.parametrize("data", [np.ones(3) * 1j, [1j, 1j, 1j]])
def test_complex_gradients_and_data_are_refused(data):
    x = tc.Tensor(np.ones(3, np.float32), requires_grad=True)
    with pytest.raises(TypeError, match="complex"):
        (x * 2).backward(data)
    with pytest.raises(TypeError, match="complex"):
        tc.Tensor(data, dtype=np.float32)
