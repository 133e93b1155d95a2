"""Schedules: formulas, several on one optimiser, and saved states."""

import copy
import json
import math

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import nn, optim
from tinycnn.errors import CheckpointError


def sgd(*rates):
    return optim.SGD([{"params": [nn.Parameter(np.ones(1))], "lr": lr} for lr in rates or (1.0,)])


def rate(optimizer):
    return optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize(
    ("make", "formula"),
    [
        (lambda o: optim.StepLR(o, 3, 0.3), lambda t: 0.1 * 0.3 ** (t // 3)),
        (lambda o: optim.MultiStepLR(o, [4, 2], 0.3), lambda t: 0.1 * 0.3 ** ((t >= 2) + (t >= 4))),
        (lambda o: optim.ExponentialLR(o, 0.7), lambda t: 0.1 * 0.7**t),
        (
            lambda o: optim.CosineAnnealingLR(o, 7, 0.01),
            lambda t: 0.01 + (0.1 - 0.01) * ((1 + math.cos(math.pi * t / 7)) / 2),
        ),
        (lambda o: optim.WarmUp(optim.ExponentialLR(o, 0.7), 3), lambda t: 0.1 * 0.7**t * min(1.0, (t + 1) / 4)),
    ],
)
def test_a_single_schedule_has_its_formulas_bits(make, formula):
    optimizer = sgd(0.1)
    schedule = make(optimizer)
    for t in range(8):
        assert rate(optimizer) == formula(t)
        schedule.step()


PAIRS = {
    "exponential and step": (lambda o: optim.ExponentialLR(o, 0.5), lambda o: optim.StepLR(o, 2, 0.1)),
    "multi-step and exponential": (lambda o: optim.MultiStepLR(o, [1, 3], 0.2), lambda o: optim.ExponentialLR(o, 0.9)),
    "cosine and step": (lambda o: optim.CosineAnnealingLR(o, 5, 0.01), lambda o: optim.StepLR(o, 2, 0.1)),
    "warm-up and step": (
        lambda o: optim.WarmUp(optim.ExponentialLR(o, 0.9), 2),
        lambda o: optim.MultiStepLR(o, [2], 0.1),
    ),
}


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("pair", PAIRS)
def test_two_schedules_multiply(pair, order):
    makers = PAIRS[pair] if order == 0 else PAIRS[pair][::-1]
    both, alone = sgd(0.5, 0.2), [sgd(0.5, 0.2), sgd(0.5, 0.2)]
    schedules = [make(both) for make in makers]
    singles = [make(optimizer) for make, optimizer in zip(makers, alone)]
    for _ in range(6):
        first, second = (s.get_last_lr() for s in singles)
        expected = [a * b / base for a, b, base in zip(first, second, (0.5, 0.2))]
        assert schedules[0].get_last_lr() == schedules[1].get_last_lr() == pytest.approx(expected, rel=1e-12)
        for schedule in (*schedules, *singles):
            schedule.step()


def test_two_schedules_resume_with_the_same_bits():
    def fresh():
        optimizer = sgd(0.3)
        return optimizer, [optim.ExponentialLR(optimizer, 0.9), optim.CosineAnnealingLR(optimizer, 9, 0.01)]

    optimizer, schedules = fresh()
    for _ in range(4):
        for schedule in schedules:
            schedule.step()
    saved = json.loads(json.dumps([s.state_dict() for s in schedules])), copy.deepcopy(optimizer.state_dict())
    for order in (0, 1):
        other, others = fresh()
        if order:
            other.load_state_dict(saved[1])
        for schedule, state in zip(others, saved[0]):
            schedule.load_state_dict(state)
        if not order:
            other.load_state_dict(saved[1])
        assert rate(other) == rate(optimizer)
    for _ in range(3):
        for schedule in (*schedules, *others):
            schedule.step()
        assert rate(other) == rate(optimizer)


def test_a_schedule_made_after_the_state_was_loaded_multiplies_too():
    optimizer = sgd(1.0)
    optim.ExponentialLR(optimizer, 0.5).step()
    saved = optimizer.state_dict()
    other = sgd(1.0)
    first = optim.ExponentialLR(other, 0.5)
    other.load_state_dict(saved)
    second = optim.StepLR(other, 1, 0.1)
    first.load_state_dict({"base_lrs": [1.0], "last_step": 1})
    second.step()
    assert rate(other) == pytest.approx(0.5 * 0.1)


def test_a_schedule_that_ended_keeps_its_factor_and_a_rate_set_by_hand_starts_anew():
    optimizer = sgd(1.0)
    first = optim.ExponentialLR(optimizer, 0.1)
    first.step()
    second = optim.StepLR(optimizer, 1, 0.5)
    assert rate(optimizer) == pytest.approx(0.1)
    second.step()
    assert rate(optimizer) == pytest.approx(0.05)
    optimizer.param_groups[0]["lr"] = 0.3
    third = optim.StepLR(optimizer, 1, 0.5)
    assert rate(optimizer) == 0.3
    third.step()
    assert rate(optimizer) == 0.15
    with pytest.raises(RuntimeError, match="ExponentialLR: rates were set by hand and another schedule was made since"):
        first.step()


def test_a_shallow_copy_of_a_schedule_takes_its_place():
    optimizer = sgd(1.0)
    schedule = optim.ExponentialLR(optimizer, 0.5)
    copy.copy(schedule).step()
    assert rate(optimizer) == 0.5


def plateau(metrics, lr=1.0, **options):
    optimizer = sgd(lr)
    schedule = optim.ReduceLROnPlateau(optimizer, **{"patience": 2, **options})
    for metric in metrics:
        schedule.step(metric)
    return rate(optimizer)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
@pytest.mark.parametrize("value", [1.0, -1.0, 0.0, -1e30, 1e-30, float("nan")])
def test_a_number_that_stays_the_same_is_no_improvement(value, threshold_mode, mode):
    assert plateau([value] * 4, mode=mode, threshold_mode=threshold_mode) == 0.1
    assert plateau([value] * 3, mode=mode, threshold_mode=threshold_mode) == (0.1 if math.isnan(value) else 1.0)


@pytest.mark.parametrize(
    ("mode", "threshold_mode", "best", "metric", "improved"),
    [
        ("min", "rel", -1.0, -1.05, False),
        ("min", "rel", -1.0, -1.15, True),
        ("min", "rel", -1.0, -0.95, False),
        ("min", "rel", 2.0, 1.85, False),
        ("min", "rel", 2.0, 1.75, True),
        ("max", "rel", -1.0, -0.95, False),
        ("max", "rel", -1.0, -0.85, True),
        ("max", "rel", 2.0, 2.15, False),
        ("max", "rel", 2.0, 2.25, True),
        ("min", "abs", -2.0, -2.05, False),
        ("min", "abs", 2.0, 1.85, True),
        ("max", "abs", 2.0, 2.05, False),
        ("max", "abs", -2.0, -1.85, True),
    ],
)
def test_a_change_below_the_threshold_is_no_improvement(mode, threshold_mode, best, metric, improved):
    options = {"mode": mode, "threshold_mode": threshold_mode, "threshold": 0.1, "patience": 0}
    assert plateau([best, metric], **options) == (1.0 if improved else 0.1)


def test_cooldown_counts_nothing_and_is_restored():
    def fresh():
        optimizer = sgd(1.0)
        return optimizer, optim.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, cooldown=3)

    optimizer, schedule = fresh()
    rates = []
    for _ in range(7):
        schedule.step(1.0)
        rates.append(rate(optimizer))
    assert rates == [1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]

    optimizer, schedule = fresh()
    for _ in range(3):
        schedule.step(1.0)
    other, resumed = fresh()
    other.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    rates = []
    for _ in range(4):
        resumed.step(1.0)
        rates.append(rate(other))
    assert rates == [0.5, 0.5, 0.25, 0.25]


def test_the_rate_falls_to_min_lr_and_is_never_raised_to_it():
    assert plateau([1.0] * 20, min_lr=0.03, factor=0.2) == 0.03
    assert plateau([1.0] * 20, lr=0.01, min_lr=0.03) == 0.01
    optimizer = sgd(1.0, 1.0)
    schedule = optim.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.5, 0.05])
    for _ in range(9):
        schedule.step(1.0)
    assert schedule.get_last_lr() == [0.5, 0.05]


def test_a_watched_tensor_is_taken_as_its_number():
    weight = tc.Tensor([2.0], requires_grad=True)
    optimizer = sgd(1.0)
    schedule = optim.ReduceLROnPlateau(optimizer)
    schedule.step((weight * weight).sum())
    assert type(schedule.best) is float and schedule.best == 4.0
    for metric in (np.float32(3.0), np.array([2.0]), np.array(1.0), 1):
        schedule.step(metric)
    assert type(schedule.best) is float and json.loads(json.dumps(schedule.state_dict()))["best"] == 1.0
    for wrong, message in ((None, "is None"), ("1", "is '1'"), (np.ones(2), r"has shape \(2,\)")):
        with pytest.raises(TypeError, match=f"ReduceLROnPlateau: the watched number {message}, expected one number"):
            schedule.step(wrong)


@pytest.mark.parametrize("order", [0, 1])
def test_a_plateau_multiplies_with_another_schedule(order):
    def fresh():
        optimizer = sgd(1.0)
        makers = [lambda: optim.ExponentialLR(optimizer, 0.9), lambda: optim.ReduceLROnPlateau(optimizer, patience=0)]
        made = [make() for make in (makers if order == 0 else makers[::-1])]
        return optimizer, *(made if order == 0 else made[::-1])

    optimizer, exponential, watching = fresh()
    for t, factor in enumerate([1.0, 0.1, 0.01, 0.001]):
        watching.step(1.0)
        assert rate(optimizer) == pytest.approx(0.9**t * factor, rel=1e-12)
        exponential.step()
        assert rate(optimizer) == pytest.approx(0.9 ** (t + 1) * factor, rel=1e-12)
    other, second, third = fresh()
    other.load_state_dict(optimizer.state_dict())
    second.load_state_dict(exponential.state_dict())
    third.load_state_dict(watching.state_dict())
    assert rate(other) == rate(optimizer)
    second.step()
    exponential.step()
    assert rate(other) == rate(optimizer)


def test_a_plateau_alone_goes_on_from_a_rate_set_by_hand():
    optimizer = sgd(1.0)
    schedule = optim.ReduceLROnPlateau(optimizer, patience=0)
    schedule.step(1.0)
    optimizer.param_groups[0]["lr"] = 0.4
    schedule.step(1.0)
    assert rate(optimizer) == 0.4 * 0.1
    optim.StepLR(optimizer, 5)
    assert rate(optimizer) == pytest.approx(0.04)


STATES = [
    None,
    "text",
    [],
    {},
    {"last_step": 1},
    {"base_lrs": None, "last_step": 1},
    {"base_lrs": [1.0], "last_step": "2"},
]
STATES += [
    {"base_lrs": [1.0, 2.0], "last_step": 1},
    {"base_lrs": [1.0], "last_step": -1},
    {"base_lrs": ["a"], "last_step": 1},
]


@pytest.mark.parametrize("state", STATES, ids=str)
def test_a_wrong_state_is_refused_and_changes_nothing(state):
    optimizer = sgd(1.0)
    schedule = optim.ExponentialLR(optimizer, 0.5)
    schedule.step()
    with pytest.raises(CheckpointError, match="ExponentialLR: "):
        schedule.load_state_dict(state)
    assert (schedule.last_step, schedule.base_lrs, rate(optimizer)) == (1, [1.0], 0.5)
    ramp = optim.WarmUp(schedule, 4)
    with pytest.raises(CheckpointError):
        ramp.load_state_dict({"last_step": 3, "schedule": state})
    assert (ramp.last_step, schedule.last_step) == (1, 1)


@pytest.mark.parametrize(
    "state", [None, {}, {"best": "x", "bad_steps": 0, "cooling": 0}, {"best": 1.0, "bad_steps": 0}]
)
def test_a_wrong_state_of_a_plateau_is_refused(state):
    schedule = optim.ReduceLROnPlateau(sgd(1.0))
    with pytest.raises(CheckpointError, match="ReduceLROnPlateau: "):
        schedule.load_state_dict(state)
    schedule.load_state_dict({"best": 1.0, "bad_steps": 2, "cooling": 1})
    assert (schedule.best, schedule.bad_steps, schedule.cooling) == (1.0, 2, 1)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda o: optim.StepLR(o, 0), ValueError, "StepLR: step_size is 0, expected an integer of at least 1"),
        (lambda o: optim.StepLR(o, 2.5), ValueError, "StepLR: step_size is 2.5"),
        (lambda o: optim.StepLR(o, 2, None), ValueError, "StepLR: gamma is None"),
        (lambda o: optim.MultiStepLR(o, ["2"]), ValueError, r"MultiStepLR: milestones\[0\] is '2'"),
        (lambda o: optim.MultiStepLR(o, None), TypeError, "MultiStepLR: milestones is a NoneType"),
        (lambda o: optim.ExponentialLR(o, float("nan")), ValueError, "ExponentialLR: gamma is nan"),
        (lambda o: optim.CosineAnnealingLR(o, None), ValueError, "CosineAnnealingLR: T_max is None"),
        (lambda o: optim.WarmUp(o, 3), TypeError, "WarmUp: schedule is .*, expected a Schedule"),
        (
            lambda o: optim.WarmUp(optim.ReduceLROnPlateau(o), 3),
            TypeError,
            "WarmUp: schedule is .*, expected a Schedule",
        ),
        (lambda o: optim.StepLR("SGD", 3), TypeError, "StepLR: optimizer is 'SGD', expected an Optimizer"),
        (lambda o: optim.ReduceLROnPlateau(None), TypeError, "ReduceLROnPlateau: optimizer is None"),
        (lambda o: optim.ReduceLROnPlateau(o, "least"), ValueError, "mode is 'least', expected 'min' or 'max'"),
        (lambda o: optim.ReduceLROnPlateau(o, threshold_mode="x"), ValueError, "threshold_mode is 'x', expected 'rel'"),
        (lambda o: optim.ReduceLROnPlateau(o, factor=1.0), ValueError, "factor is 1.0, expected from 0 to below 1"),
        (lambda o: optim.ReduceLROnPlateau(o, factor=0), ValueError, "factor is 0, expected above 0"),
        (lambda o: optim.ReduceLROnPlateau(o, patience=-1), ValueError, "patience is -1"),
        (lambda o: optim.ReduceLROnPlateau(o, min_lr=[0.1, 0.2]), ValueError, "min_lr has 2 numbers, expected 1"),
    ],
)
def test_arguments_out_of_range_are_named(make, kind, message):
    with pytest.raises(kind, match=message):
        make(sgd(1.0))
