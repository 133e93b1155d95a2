"""Saved states of optimisers: a fitting one continues with the same bits, any other is refused with the difference."""

import copy
import json
import pickle

import numpy as np
import pytest

from tinycnn import nn, optim
from tinycnn.errors import CheckpointError

SHAPES = [(2, 3), (3,), (4,)]


def stepped(make=optim.Adam, sizes=(2, 1), shapes=SHAPES, named=False, **options):
    """Return an optimiser of the given group sizes after one step."""
    pairs = [(f"w{i}", nn.Parameter(np.full(shape, i + 1, np.float32))) for i, shape in enumerate(shapes)]
    groups, first = [], 0
    for size in sizes:
        members = pairs[first : first + size]
        groups.append({"params": members if named else [p for _, p in members]})
        first += size
    optimizer = make(groups, **options)
    for _, parameter in pairs:
        parameter.grad = np.ones_like(parameter.data)
    optimizer.step()
    return optimizer


def snapshot(optimizer):
    groups = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    state = {
        number: {k: v.tobytes() if isinstance(v, np.ndarray) else v for k, v in values.items()}
        for number, values in optimizer.state.items()
    }
    return groups, state


OTHERS = {
    "more groups": (lambda: stepped(sizes=(1, 1, 1)), "the state has 3 parameter groups, expected 2"),
    "other sizes": (lambda: stepped(sizes=(1, 2)), "group 0 of the state has 1 parameters, expected 2"),
    "more parameters": (lambda: stepped(sizes=(2, 2), shapes=[*SHAPES, (5,)]), "group 1 .* 2 parameters, expected 1"),
    "other shapes": (
        lambda: stepped(shapes=[(2, 3), (3,), (5,)]),
        r"'exp_avg' of parameter 2 .* \(5,\), expected \(4,\)",
    ),
    "transposed": (lambda: stepped(shapes=[(3, 2), (3,), (4,)]), r"has shape \(3, 2\), expected \(2, 3\)"),
    "SGD": (
        lambda: stepped(optim.SGD, momentum=0.9),
        "group 0 .* another kind of optimizer: it lacks betas, eps and has mom",
    ),
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_state_of_another_net_is_refused_with_what_differs(case):
    make, message = OTHERS[case]
    optimizer = stepped()
    before = snapshot(optimizer)
    with pytest.raises(CheckpointError, match=f"Adam: .*{message}"):
        optimizer.load_state_dict(make().state_dict())
    assert snapshot(optimizer) == before


def test_a_state_of_adam_is_refused_by_sgd():
    with pytest.raises(CheckpointError, match=r"SGD: group 0 .* lacks momentum, dampening, nesterov and has betas"):
        stepped(optim.SGD).load_state_dict(stepped().state_dict())


def test_a_state_of_parameters_with_other_names_is_refused():
    saved = stepped(shapes=[(3,)] * 3, named=True).state_dict()
    assert saved["groups"][0]["param_names"] == ["w0", "w1"]
    other = stepped(shapes=[(3,)] * 3, named=True)
    other.load_state_dict(saved)
    other.param_groups[0]["param_names"] = ["w1", "w0"]
    with pytest.raises(CheckpointError, match="group 0 of the state is of other parameters: 'w0', expected 'w1'"):
        other.load_state_dict(saved)
    stepped(shapes=[(3,)] * 3).load_state_dict(saved)


def without(key):
    return lambda s: s.pop(key)


def put(*path_and_value):
    *path, last, value = path_and_value

    def change(state):
        for key in path:
            state = state[key]
        state[last] = value

    return change


DAMAGE = {
    "no groups": (without("groups"), "the state has no 'groups'"),
    "no state": (without("state"), "the state has no 'state'"),
    "groups None": (put("groups", None), "'groups' of the state is not a list of dicts"),
    "groups text": (put("groups", "ab"), "'groups' of the state is not a list of dicts"),
    "group a list": (put("groups", 0, []), "'groups' of the state is not a list of dicts"),
    "group empty": (put("groups", 0, {}), "lacks lr, betas, eps, weight_decay"),
    "state a list": (put("state", []), "'state' of the state is a list, expected a dict"),
    "values a list": (put("state", 1, []), "the state of parameter 1 .* is a list, expected a dict"),
    "values None": (put("state", 1, None), "the state of parameter 1 .* is a NoneType"),
    "number": (put("state", 7, {"step": 1}), "the state has parameter 7, this optimizer has 3 parameters"),
    "negative": (put("state", -1, {"step": 1}), "the state has parameter -1"),
    "word": (put("state", "x", {"step": 1}), "the state has parameter 'x'"),
    "twice": (put("state", "1", {}), "the state has parameter 1 twice"),
    "no step": (lambda s: s["state"][1].pop("step"), "'step' in the state of parameter 1 .* is None"),
    "text step": (put("state", 1, "step", "3"), "'step' in the state of parameter 1 .* is '3'"),
    "negative step": (put("state", 1, "step", -3), "'step' .* is -3"),
    "no array": (lambda s: s["state"][1].pop("exp_avg_sq"), "another kind of optimizer: it lacks exp_avg_sq"),
    "another array": (put("state", 1, "momentum_buffer", np.zeros(3)), "it has momentum_buffer"),
    "None array": (put("state", 1, "exp_avg", None), "state 'exp_avg' of parameter 1 .* is a NoneType"),
    "text array": (put("state", 1, "exp_avg", np.array(["a"] * 3)), "has dtype <U1, expected float32"),
    "object array": (put("state", 1, "exp_avg", np.array([None] * 3)), "has dtype object, expected float32"),
    "complex array": (put("state", 1, "exp_avg", np.zeros(3, complex)), "has dtype complex128, expected float32"),
    "params": (put("groups", 0, "params", 3), "group 0 of the state has 3 parameters, expected 2"),
    "lr None": (put("groups", 0, "lr", None), "group 0 of the state: Adam: lr is None"),
    "lr NaN": (put("groups", 0, "lr", float("nan")), "lr is nan, expected at least 0"),
    "betas": (put("groups", 1, "betas", [0.9]), "group 1 of the state: Adam: betas is .0.9,., expected two numbers"),
    "betas text": (put("groups", 1, "betas", "ab"), "betas is 'ab'"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_state_is_refused_and_changes_nothing(case):
    change, message = DAMAGE[case]
    saved = copy.deepcopy(stepped().state_dict())
    saved["groups"][0]["lr"] = 0.25  # what a half-loaded state would show
    change(saved)
    optimizer = stepped()
    before = snapshot(optimizer)
    with pytest.raises(CheckpointError, match=message):
        optimizer.load_state_dict(saved)
    assert snapshot(optimizer) == before


@pytest.mark.parametrize("saved", [None, "text", [], 3, np.zeros(2), {}])
def test_no_state_at_all_is_refused(saved):
    with pytest.raises(CheckpointError, match=r"Adam: the state (is a|has no)"):
        stepped().load_state_dict(saved)


def test_a_state_from_text_continues_and_one_without_sizes_is_taken():
    saved = stepped(lr=0.25).state_dict()
    arrays = {
        k: {n: v.tolist() if isinstance(v, np.ndarray) else v for n, v in e.items()} for k, e in saved["state"].items()
    }
    read = json.loads(json.dumps({"groups": saved["groups"], "state": arrays}))
    for values in read["state"].values():
        for name in ("exp_avg", "exp_avg_sq"):
            values[name] = np.array(values[name], np.float32)
    del read["groups"][0]["params"]
    optimizer = stepped()
    optimizer.load_state_dict(read)
    assert snapshot(optimizer) == snapshot(stepped(lr=0.25))


def test_a_loaded_state_is_a_copy_in_the_parameters_dtype():
    saved = stepped().state_dict()
    saved["state"][1]["exp_avg"] = saved["state"][1]["exp_avg"].astype(np.float64)
    optimizer = stepped()
    optimizer.load_state_dict(saved)
    assert optimizer.state[1]["exp_avg"].dtype == np.float32
    optimizer.step()
    assert saved["state"][0]["step"] == 1 and np.allclose(saved["state"][0]["exp_avg"], 0.1)


class Custom(optim.Optimizer):
    """An optimizer that does not declare its state."""

    def __init__(self, params):
        super().__init__(params, {"lr": 1.0, "tag": "x"})

    def _update(self, device, parameter, state, group):
        state.setdefault("note", "kept")
        parameter.data -= group["lr"] * parameter.grad


def test_optimizers_of_ones_own_save_and_load():
    first, second = stepped(Custom), stepped(Custom)
    second.load_state_dict(first.state_dict())
    assert second.state[0] == {"step": 1, "note": "kept"} and second.param_groups[0]["tag"] == "x"


@pytest.mark.parametrize(
    "make", [lambda p: optim.SGD(p, lr=0.1, momentum=0.9), lambda p: optim.Adam(p), lambda p: optim.AdamW(p)]
)
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_copies_refer_to_the_copied_parameters_and_continue_with_the_same_bits(make, duplicate):
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    optimizer = make(model.named_parameters())
    schedule = optim.WarmUp(optim.StepLR(optimizer, 2, 0.5), 2)

    def step(model, optimizer, schedule):
        for i, parameter in enumerate(model.parameters()):
            parameter.grad = np.cos(np.arange(parameter.size, dtype=np.float32) + i).reshape(parameter.shape)
        optimizer.step()
        schedule.step()

    step(model, optimizer, schedule)
    other, second, third = duplicate((model, optimizer, schedule))
    assert all(p is q for p, q in zip(second.param_groups[0]["params"], other.parameters()))
    assert third.optimizer is second and third.schedule.optimizer is second
    before = [p.data.copy() for p in model.parameters()]
    for _ in range(3):
        step(other, second, third)
    assert all(np.array_equal(p.data, q) for p, q in zip(model.parameters(), before))
    for _ in range(3):
        step(model, optimizer, schedule)
    assert all(p.data.tobytes() == q.data.tobytes() for p, q in zip(model.parameters(), other.parameters()))
    assert (
        schedule.get_last_lr() == third.get_last_lr() and optimizer.param_groups[0]["lr"] == schedule.get_last_lr()[0]
    )


def test_a_count_of_steps_beyond_the_kernels_is_refused():
    parameter = nn.Parameter(np.ones(2, np.float32))
    parameter.grad = np.ones(2, np.float32)
    steps = optim.Adam([parameter])
    steps.step()
    saved = steps.state_dict()
    saved["state"][0]["step"] = 2**62
    with pytest.raises(CheckpointError, match="'step' in the state of parameter 0"):
        steps.load_state_dict(saved)
    assert steps.state[0]["step"] == 1
