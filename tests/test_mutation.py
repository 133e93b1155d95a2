"""A saved array that changed before backward is an error, exactly."""

import gc
from functools import partial

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import functional as F
from tinycnn import nn
from tinycnn.kernels import versions
from tinycnn.mutation import detect_mutation

SIZES = [1, 16, 4096, 4097, 5000, 100_000]
CHANGED = "saved in its forward pass was changed before backward"


def leaf(n):
    return tc.Tensor(np.ones(n, np.float32), requires_grad=True)


def test_the_error_names_operation_and_shape():
    x = leaf((2, 3))
    loss = (x * x).sum()
    with tc.no_grad():
        x[0, 0] = 5
    with pytest.raises(RuntimeError, match=rf"array of shape \(2, 3\) that Mul {CHANGED}"):
        loss.backward()


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("through", ["itself", "detach", "view", "view of detach"])
def test_one_element_changed_by_item_assignment(n, through):
    x = leaf(n)
    loss = (x * x).sum()
    with tc.no_grad():
        target = {
            "itself": lambda: x,
            "detach": x.detach,
            "view": lambda: x.reshape(n, 1),
            "view of detach": lambda: x.detach().reshape(1, n).T,
        }[through]()
        target[n // 2] = 100.0
    with pytest.raises(RuntimeError, match=CHANGED):
        loss.backward()
    assert x.grad is None


def test_a_change_of_the_base_is_seen_by_a_saved_view():
    base = leaf(10)
    with tc.no_grad():
        view = base.reshape(2, 5)
    view.requires_grad = True
    loss = (view * view).sum()
    with tc.no_grad():
        base[9] = 3.0
    with pytest.raises(RuntimeError, match=CHANGED):
        loss.backward()


def test_an_assignment_that_fails_halfway_counts():
    x = leaf(3)
    loss = (x * x).sum()
    with tc.no_grad(), pytest.raises(ValueError):
        x[0:2] = np.ones(3)
    with pytest.raises(RuntimeError, match=CHANGED):
        loss.backward()


def test_changes_before_forward_and_after_backward_do_no_harm():
    x = leaf(5000)
    for _ in range(2):
        with tc.no_grad():
            x[0] = 2.0
        x.grad = None
        (x * x).sum().backward()
        assert x.grad[0] == 4
        with tc.no_grad():
            x[0] = 1.0


def test_a_change_of_something_else_is_no_error():
    x, other = leaf(5000), leaf(5000)
    loss = (x * x).sum()
    with tc.no_grad():
        other[0] = 2.0
        (x * 1.0)[0] = 2.0
    loss.backward()
    assert (x.grad == 2).all()


@pytest.mark.parametrize("initialise", [nn.init.zeros_, nn.init.normal_, nn.init.uniform_], ids=lambda f: f.__name__)
def test_initialisation_counts(initialise):
    x = leaf(5)
    loss = (x * x).sum()
    initialise(x)
    with pytest.raises(RuntimeError, match=CHANGED):
        loss.backward()


@pytest.mark.parametrize("algorithm", [tc.optim.SGD, tc.optim.Adam], ids=lambda cls: cls.__name__)
def test_an_optimizer_step_counts(algorithm):
    weight = nn.Parameter(np.ones((3, 2), np.float32))
    x = tc.Tensor(np.ones((1, 2), np.float32), requires_grad=True)
    F.linear(x, weight).sum().backward()
    loss = F.linear(x, weight).sum()
    algorithm([weight], lr=0.1).step()
    with pytest.raises(RuntimeError, match=CHANGED):
        loss.backward()


@pytest.mark.parametrize("algorithm", [partial(tc.optim.SGD, momentum=0.9), tc.optim.Adam], ids=["SGD", "Adam"])
@pytest.mark.parametrize("used_as", ["operand", "tensor"])
def test_a_step_counts_the_change_of_its_state(algorithm, used_as):
    weight, x = nn.Parameter(np.ones(3, np.float32)), leaf(3)
    optimizer = algorithm([weight], lr=0.1)
    weight.grad = np.ones(3, np.float32)
    optimizer.step()
    for state in [array for array in optimizer.state[0].values() if isinstance(array, np.ndarray)]:
        other = leaf(3).detach()
        other.data = state
        loss = (x * (state if used_as == "operand" else other)).sum()
        optimizer.step()
        with pytest.raises(RuntimeError, match=CHANGED):
            loss.backward()


def test_load_state_dict_counts():
    layer = nn.Linear(2, 3)
    x = tc.Tensor(np.ones((1, 2), np.float32), requires_grad=True)
    loss = layer(x).sum()
    layer.load_state_dict({name: array + 1 for name, array in layer.state_dict().items()})
    with pytest.raises(RuntimeError, match=CHANGED):
        loss.backward()


def test_running_statistics_count():
    norm = nn.BatchNorm2d(2)
    before = versions.version_of(norm.running_mean), versions.version_of(norm.running_var)
    norm(tc.Tensor(np.random.default_rng(0).normal(size=(4, 2, 3, 3)).astype(np.float32)))
    after = versions.version_of(norm.running_mean), versions.version_of(norm.running_var)
    assert after[0] > before[0] and after[1] > before[1]


@pytest.mark.parametrize(
    "make", [lambda a: a, lambda a: tc.Tensor(a), lambda a: a.tolist()], ids=["array", "tensor", "list"]
)
def test_an_index_that_changes_after_forward_has_no_effect(make):
    x, index = leaf(4), make(np.array([0, 0, 2]))
    loss = x[index].sum()
    index[0] = 3
    loss.backward()
    assert x.grad.tolist() == [2, 0, 1, 0]


def test_class_weights_that_change_are_noticed():
    logits, weight = leaf((2, 3)), tc.Tensor([1.0, 2.0, 3.0])
    loss = F.cross_entropy(logits, [0, 1], weight=weight)
    with tc.no_grad():
        weight[0] = 9.0
    with pytest.raises(RuntimeError, match=CHANGED):
        loss.backward()


# -- raw writes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", SIZES)
def test_detect_mutation_notices_every_raw_write(n):
    rng = np.random.default_rng(n)
    for _ in range(5):
        x = leaf(n)
        with tc.detect_mutation():
            loss = (x * x).sum()
        x.data[rng.integers(n)] += 1e-3
        with pytest.raises(RuntimeError, match=CHANGED):
            loss.backward()


def test_detect_mutation_compares_bytes():
    x = tc.Tensor(np.array([np.nan, 0.0], np.float32), requires_grad=True)
    with tc.detect_mutation():
        same, changed = (x * x).sum(), (x * x).sum()
    same.backward()
    x.data[1] = -0.0
    with pytest.raises(RuntimeError, match=CHANGED):
        changed.backward()


def test_detect_mutation_takes_any_layout_and_ends_with_its_block():
    x = tc.Tensor(np.ones((4, 6), np.float32), requires_grad=True)
    with tc.detect_mutation():
        loss = (x.T[::2] * x.T[::2]).sum()
    loss.backward()
    assert not detect_mutation.current()
    loss = (x * x).sum()
    x.data[0, 0] = 5  # not promised to be noticed here
    loss.backward()


def test_versions_of_arrays_that_are_gone_are_forgotten():
    gc.collect()
    before = len(versions._versions)
    tensors = [tc.Tensor(np.zeros(3)) for _ in range(100)]
    for x in tensors:
        x[0] = 1.0
    assert len(versions._versions) == before + 100
    del tensors, x
    gc.collect()
    assert len(versions._versions) <= before


def refused(loss):
    with pytest.raises(RuntimeError, match=CHANGED):
        loss.backward()


@pytest.mark.parametrize(
    "view",
    [
        np.lib.stride_tricks.as_strided,
        lambda a: np.lib.stride_tricks.sliding_window_view(a, 2, writeable=True),
        lambda a: np.asarray(memoryview(a)),
        lambda a: np.asarray(memoryview(np.lib.stride_tricks.as_strided(a)))[1:],
        lambda a: np.frombuffer(a, np.float32),
    ],
    ids=["strides", "windows", "memoryview", "both", "buffer"],
)
@pytest.mark.parametrize("n", [6, 100_000])
def test_views_by_strides_and_buffers_share_the_version(n, view):
    x, other = leaf(n), tc.Tensor(0.0)
    loss = (x * x).sum()
    other.data = view(x.data)
    with tc.no_grad():
        other[...] = 5
    refused(loss)


@pytest.mark.parametrize("clip", [tc.optim.clip_grad_norm_, tc.optim.clip_grad_value_])
def test_a_clipped_gradient_that_was_saved_is_noticed(clip):
    parameter, x = nn.Parameter(np.ones(3)), tc.Tensor(np.ones(3), requires_grad=True)
    parameter.grad = np.full(3, 5.0)
    loss = (x * parameter.grad).sum()
    clip(parameter, 0.5)
    refused(loss)


def test_the_count_of_batches_is_counted():
    layer, x = nn.BatchNorm2d(2), leaf(3)
    loss = (x * layer.num_batches_tracked).sum()
    layer(np.random.default_rng(0).normal(size=(2, 2, 3, 3)).astype(np.float32))
    refused(loss)


def test_an_interrupt_while_writes_are_counted_hides_none_of_them(monkeypatch):
    first, second = leaf(4), leaf(4)
    losses = [(x * x).sum() for x in (first, second)]
    optimizer = tc.optim.SGD([first, second], lr=0.1)
    for x in (first, second):
        x.grad = np.ones(4, np.float32)
    count, calls = versions._set_version, []

    def interrupted(buffer):
        calls.append(buffer)
        if len(calls) == 1:
            raise KeyboardInterrupt
        count(buffer)

    monkeypatch.setattr(versions, "_set_version", interrupted)
    with pytest.raises(KeyboardInterrupt):
        optimizer.step()
    for loss in losses:
        with pytest.raises(RuntimeError, match=CHANGED):
            loss.backward()
