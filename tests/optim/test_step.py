"""Optimisers: parameters that are accepted, and steps that are refused before anything is changed."""

import numpy as np
import pytest

from tinycnn import nn, optim
from tinycnn.kernels.cpu.optimizer import adam_update, sgd_update
from tinycnn.tensor import Tensor

MAKERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.5),
    "momentum": lambda p: optim.SGD(p, lr=0.5, momentum=0.9),
    "Adam": lambda p: optim.Adam(p, lr=0.5),
    "AdamW": lambda p: optim.AdamW(p, lr=0.5),
}


def give(parameter, grad):
    """Set a gradient past any check of the setter."""
    slot = next(vars(c)[n] for c in type(parameter).__mro__ for n in ("_grad", "grad") if n in vars(c))
    slot.__set__(parameter, grad)


def net(optimizer="momentum"):
    first, second = nn.Parameter(np.ones((2, 3), np.float32)), nn.Parameter(np.ones((3, 4), np.float32))
    for parameter in (first, second):
        parameter.grad = np.ones(parameter.shape, np.float32)
    return first, second, MAKERS[optimizer]([("body.weight", first), ("head.weight", second)])


GRADIENTS = {
    "shorter": (np.ones(1, np.float32), r"gradient has shape \(1,\), expected \(3, 4\)"),
    "transposed": (np.ones((4, 3), np.float32), r"gradient has shape \(4, 3\), expected \(3, 4\)"),
    "0-d": (np.ones((), np.float32), r"gradient has shape \(\), expected \(3, 4\)"),
    "float64": (np.ones((3, 4)), "gradient has dtype float64, expected float32"),
    "integer": (np.ones((3, 4), np.int64), "gradient has dtype int64, expected float32"),
    "swapped bytes": (np.ones((3, 4), ">f4" if np.little_endian else "<f4"), "gradient has dtype"),
    "tensor": (Tensor(np.ones((3, 4), np.float32)), "gradient is a Tensor, expected an array"),
    "list": ([1.0], "gradient is a list, expected an array"),
}


@pytest.mark.parametrize("optimizer", MAKERS)
@pytest.mark.parametrize("case", GRADIENTS)
def test_a_gradient_that_does_not_fit_is_refused_before_anything_changes(case, optimizer):
    grad, message = GRADIENTS[case]
    first, second, steps = net(optimizer)
    give(second, grad)
    with pytest.raises(
        ValueError, match=r"parameter 1 \(group 0, shape \(3, 4\), name 'head.weight'\): its " + message
    ):
        steps.step()
    assert (first.data == 1).all() and (second.data == 1).all() and not steps.state


def overlapping():
    base = np.zeros(8, np.float32)
    return np.lib.stride_tricks.as_strided(base, (3, 4), (4, 8))


def repeated():
    return np.lib.stride_tricks.as_strided(np.zeros(4, np.float32), (3, 4), (0, 4))


DATA = {
    "another head": (lambda: np.ones((5, 4), np.float32), r"its gradient has shape \(3, 4\), expected \(5, 4\)"),
    "float64": (lambda: np.ones((3, 4)), "its gradient has dtype float32, expected float64"),
    "float16": (lambda: np.ones((3, 4), np.float16), "its data has dtype float16"),
    "integer": (lambda: np.ones((3, 4), np.int32), "its data has dtype int32"),
    "read-only": (lambda: np.broadcast_to(np.float32(1), (3, 4)), "its data is read-only"),
    "repeated": (repeated, "its data has elements that share memory"),
    "overlapping": (overlapping, "its data has elements that share memory"),
}


@pytest.mark.parametrize("case", DATA)
def test_data_that_cannot_be_updated_is_refused(case):
    make, message = DATA[case]
    first, second, steps = net()
    try:
        second.data = make()
    except (TypeError, ValueError):
        return  # refused even earlier
    before = second.data.copy()
    give(second, np.ones((3, 4), np.float32))
    with pytest.raises(ValueError, match=message):
        steps.step()
    assert (first.data == 1).all() and np.array_equal(second.data, before)


@pytest.mark.parametrize(("optimizer", "name"), [("momentum", "momentum_buffer"), ("Adam", "exp_avg_sq")])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a[:1], r"has shape \(1, 4\), expected \(3, 4\)"),
        (lambda a: a.astype(np.float64), "has dtype float64, expected float32"),
        (lambda a: None, "is a NoneType, expected an array"),
        (lambda a: np.broadcast_to(a[:1], a.shape), "is read-only"),
    ],
)
def test_a_state_array_that_does_not_fit_is_refused(optimizer, name, change, message):
    first, second, steps = net(optimizer)
    steps.step()
    before = first.data.copy(), second.data.copy()
    steps.state[1][name] = change(steps.state[1][name])
    with pytest.raises(ValueError, match=f"name 'head.weight'.: its state '{name}' {message}"):
        steps.step()
    assert np.array_equal(first.data, before[0]) and np.array_equal(second.data, before[1])
    assert steps.state[0]["step"] == 1


def test_a_head_replaced_in_mid_training_is_named():
    layer = nn.Linear(3, 2)
    steps = optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    for parameter in layer.parameters():
        parameter.grad = np.ones_like(parameter.data)
    steps.step()
    layer.weight.grad = None
    layer.weight.data = np.zeros((50, 3), np.float32)
    layer.weight.grad = np.ones((50, 3), np.float32)
    with pytest.raises(ValueError, match=r"parameter 0 \(group 0, shape \(50, 3\)\): its state 'momentum_buffer' has"):
        steps.step()
    assert not layer.weight.data.any()


@pytest.mark.parametrize("optimizer", MAKERS)
@pytest.mark.parametrize("layout", ["fortran", "reversed", "strided", "transposed"])
def test_layouts_are_updated_as_contiguous_arrays(layout, optimizer):
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    views = {
        "fortran": np.asfortranarray(values),
        "reversed": values[::-1].copy()[::-1],
        "strided": np.repeat(values, 2, axis=1)[:, ::2],
        "transposed": values.T.copy().T,
    }
    plain, viewed = nn.Parameter(values), nn.Parameter(values)
    viewed.data = views[layout]
    for parameter in (plain, viewed):
        steps = MAKERS[optimizer]([parameter])
        for k in (1.0, 2.0):
            parameter.grad = k * np.cos(values)
            steps.step()
    assert not viewed.data.flags.c_contiguous and plain.data.tobytes() == viewed.data.tobytes()


@pytest.mark.parametrize("optimizer", MAKERS)
def test_a_gradient_that_overlaps_its_parameter_is_read_first(optimizer):
    base = np.linspace(1, 2, 9, dtype=np.float32)
    plain, shared = nn.Parameter(base[1:]), nn.Parameter(base[1:])
    shared.data = base[1:]
    for parameter, grad in ((plain, base[:-1].copy()), (shared, base[:-1])):
        give(parameter, grad)
        MAKERS[optimizer]([parameter]).step()
    assert plain.data.tobytes() == shared.data.tobytes()


def test_a_gradient_that_overlaps_the_state_is_read_first():
    results = []
    for shared in (False, True):
        parameter, base = nn.Parameter(np.zeros(8, np.float32)), np.linspace(1, 2, 9, dtype=np.float32)
        steps = optim.SGD([parameter], lr=1.0, momentum=0.5)
        steps.state[0] = {"step": 1, "momentum_buffer": base[1:]}
        give(parameter, base[:-1] if shared else base[:-1].copy())
        steps.step()
        results.append(parameter.data.tobytes())
    assert results[0] == results[1]


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,)])
@pytest.mark.parametrize("optimizer", MAKERS)
def test_empty_and_zero_dimensional_parameters(shape, optimizer):
    parameter = nn.Parameter(np.ones(shape, np.float32))
    parameter.grad = np.ones(shape, np.float32)
    MAKERS[optimizer]([parameter]).step()
    assert parameter.shape == shape and (parameter.data < 1).all()


def test_kernels_refuse_arrays_of_other_shapes():
    big, small = np.zeros(1000, np.float32), np.ones(1, np.float32)
    with pytest.raises(ValueError, match=r"sgd_update: grad has shape \(1,\), expected \(1000,\)"):
        sgd_update(big, small, None, True, 0.1, 0.0, 0.0, 0.0, False)
    with pytest.raises(ValueError, match=r"sgd_update: momentum_buffer has shape \(1,\), expected \(1000,\)"):
        sgd_update(big, np.ones_like(big), small, True, 0.1, 0.9, 0.0, 0.0, False)
    with pytest.raises(TypeError, match="adam_update: exp_avg has dtype float64, expected float32"):
        adam_update(big, np.ones_like(big), big.astype(np.float64), big.copy(), 1, 0.1, 0.9, 0.99, 1e-8, 0.0, False)
    assert not big.any()


@pytest.mark.parametrize("optimizer", MAKERS)
def test_frozen_parameters_are_accepted_skipped_and_learned_when_unfrozen(optimizer):
    first, second, _ = net()
    first.requires_grad = False
    steps = MAKERS[optimizer]([first, second])
    steps.step()
    assert (first.data == 1).all() and (second.data != 1).all() and 0 not in steps.state
    first.requires_grad, second.requires_grad = True, False
    after = second.data.copy()
    steps.step()
    assert (first.data != 1).all() and np.array_equal(second.data, after)


def test_a_frozen_parameter_is_not_moved_by_momentum_or_decay():
    parameter = nn.Parameter(np.ones(3, np.float32))
    steps = optim.SGD([parameter], lr=0.1, momentum=0.9, weight_decay=0.1)
    parameter.grad = np.ones(3, np.float32)
    steps.step()
    parameter.requires_grad = False
    before = parameter.data.copy()
    steps.step()
    assert np.array_equal(parameter.data, before) and steps.state[0]["step"] == 1


def test_parameters_come_with_or_without_names():
    layer = nn.Linear(2, 2)
    named = optim.SGD(layer.named_parameters(), lr=0.1)
    assert named.param_groups[0]["param_names"] == ["weight", "bias"]
    assert named.param_groups[0]["params"][1] is layer.bias
    groups = optim.SGD([{"params": [("b", layer.bias)], "lr": 1.0}, {"params": layer.weight}], lr=0.1)
    assert groups.param_groups[0]["param_names"] == ["b"] and "param_names" not in groups.param_groups[1]
    assert [group["lr"] for group in groups.param_groups] == [1.0, 0.1]
    assert len(optim.SGD(iter(list(layer.parameters()))).param_groups[0]["params"]) == 2


W = nn.Parameter(np.ones((2, 2), np.float32))


@pytest.mark.parametrize(
    ("params", "kind", "message"),
    [
        ([], ValueError, "list of parameters is empty; layers in a plain list are not found .use nn.ModuleList"),
        ([{"params": []}], ValueError, "list of parameters is empty"),
        ([{"params": [W]}, {"params": [("w", W)]}], ValueError, "listed twice.*parameter 1 .*name 'w'"),
        ([("a", W), W], ValueError, "all parameters of a group must be .name, parameter. pairs, or none"),
        ([{"params": [W]}, W], TypeError, "mixes group dicts and parameters"),
        ([{"lr": 0.1}], ValueError, "a parameter group has no 'params', it has .'lr'."),
        ([{"params": None}], TypeError, "'params' of a group is a NoneType"),
        ([{"params": [W], "lr": -1}], ValueError, "lr is -1, expected at least 0"),
        ([{"params": [W], "lr": None}], ValueError, "lr is None, expected at least 0"),
        ([{"params": [W], "momentum": "0.9"}], ValueError, "momentum is '0.9', expected at least 0"),
        ([{"params": [W], "nesterov": True}], ValueError, "nesterov needs momentum above 0"),
        ([("w", W * 2)], ValueError, "parameter 0 .*name 'w'. is not a leaf that requires gradients.*nn.Parameter"),
        (W, TypeError, r"a single tensor came, expected a list of parameters: \[tensor\]"),
        ({"w": W}, TypeError, "a dict came, expected a list of group dicts"),
        ({W}, TypeError, "params is a set"),
        (None, TypeError, "params is a NoneType"),
        ("weights", TypeError, "params is a str"),
        ([np.ones(3)], TypeError, "parameters must be tensors, one is a ndarray"),
        (nn.Linear(2, 2), TypeError, r"a Linear came, expected its .parameters\(\)"),
    ],
)
def test_parameters_that_cannot_be_learned_are_refused(params, kind, message):
    with pytest.raises(kind, match=message):
        optim.SGD(params, lr=0.1)


@pytest.mark.parametrize("value", [None, "0.1", [0.1], float("nan"), float("inf"), 10**400])
def test_an_option_changed_to_no_finite_number_is_refused_before_anything_changes(value):
    first, second = (nn.Parameter(np.ones(2, np.float32)) for _ in range(2))
    steps = optim.Adam([{"params": [first]}, {"params": [second]}])
    first.grad = second.grad = np.ones(2, np.float32)
    steps.param_groups[1]["lr"] = value
    with pytest.raises(ValueError, match="Adam: lr of a parameter group is"):
        steps.step()
    assert (first.data == 1).all()


def test_zero_grad_forgets_or_fills():
    first, second, steps = net()
    second.grad = None
    steps.zero_grad(set_to_none=False)
    assert first.grad is not None and not first.grad.any() and second.grad is None
    steps.zero_grad()
    assert first.grad is None


@pytest.mark.parametrize("betas", [None, 0.9, (0.9,), ("a", "b"), (1.0, 1.0), (0.9, float("nan"))])
def test_betas_that_were_changed_by_hand_are_checked_before_anything_changes(betas):
    first, second, steps = net("Adam")
    steps.param_groups[0]["betas"] = betas
    with pytest.raises(ValueError, match="Adam: betas"):
        steps.step()
    assert (first.data == 1).all() and (second.data == 1).all() and not steps.state


@pytest.mark.parametrize("optimizer", ["momentum", "Adam"])
@pytest.mark.parametrize("number", [None, -1, 1.5, "a", 2**70])
def test_a_count_of_steps_that_was_changed_by_hand_is_checked_before_anything_changes(number, optimizer):
    first, second, steps = net(optimizer)
    steps.step()
    before = first.data.copy(), second.data.copy()
    steps.state[1]["step"] = number
    with pytest.raises(ValueError, match=r"name 'head.weight'\): its state 'step' is .*, expected an integer"):
        steps.step()
    assert np.array_equal(first.data, before[0]) and np.array_equal(second.data, before[1])
    assert steps.state[0]["step"] == 1


# -- parameter groups that were changed by hand ------------------------------------------------------------------------


def trained(*shapes):
    """Return parameters that are 1 and an optimiser with a momentum of 100 for each, in groups of their own."""
    parameters = [nn.Parameter(np.ones(shape)) for shape in shapes]
    optimizer = optim.SGD([{"params": [p]} for p in parameters], lr=1.0, momentum=0.5)
    for number, parameter in enumerate(parameters):
        parameter.grad = np.full(parameter.shape, 100.0 * (number + 1))
    optimizer.step()
    for parameter in parameters:
        parameter.data = np.ones(parameter.shape)
        parameter.grad = np.zeros(parameter.shape)
    return parameters, optimizer


def fresh(shape=2):
    parameter = nn.Parameter(np.ones(shape))
    parameter.grad = np.zeros(shape)
    return parameter


@pytest.mark.parametrize("place", [0, 1])
def test_a_parameter_that_is_added_to_a_group_starts_without_state(place):
    (a, b), optimizer = trained(2, 2)
    new = fresh()
    optimizer.param_groups[0]["params"].insert(place, new)
    optimizer.step()
    assert new.data.tolist() == [1.0, 1.0]
    assert (a.data.tolist(), b.data.tolist()) == ([-49.0, -49.0], [-99.0, -99.0])


@pytest.mark.parametrize("shape", [2, 3])
def test_a_parameter_that_replaces_another_starts_without_state(shape):
    (_, b), optimizer = trained(2, 2)
    new = fresh(shape)
    optimizer.param_groups[0]["params"][0] = new
    optimizer.step()
    assert new.data.tolist() == [1.0] * shape
    assert b.data.tolist() == [-99.0, -99.0]


def test_state_follows_its_parameter_when_another_is_removed():
    (_, b), optimizer = trained(2, 2)
    del optimizer.param_groups[0]
    assert {number: state["momentum_buffer"].tolist() for number, state in optimizer.state_dict()["state"].items()} == {
        0: [200.0, 200.0]
    }
    optimizer.step()
    assert b.data.tolist() == [-99.0, -99.0]


def test_constants_beyond_float32_are_infinite_without_a_warning():
    parameter = nn.Parameter(np.ones(2, np.float32))
    parameter.grad = np.ones(2, np.float32)
    optim.SGD([parameter], lr=1e39).step()
    assert parameter.data.tolist() == [-np.inf, -np.inf]
