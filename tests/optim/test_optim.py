"""Optimisers and schedules: the trajectories are PyTorch's, the states are saved and restored exactly."""

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import nn, optim
from tinycnn.errors import CheckpointError

RNG = np.random.default_rng(0)
START = RNG.normal(size=(4, 5))
GRADS = RNG.normal(size=(25, 4, 5))

OPTIMIZERS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.01}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.2}),
]


def parameter(dtype=np.float64):
    return nn.Parameter(START.astype(dtype))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)])
@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=str)
def test_trajectories_equal_pytorchs(name, options, dtype, tolerance):
    torch = pytest.importorskip("torch")
    ours, theirs = parameter(dtype), torch.nn.Parameter(torch.tensor(START.astype(dtype)))
    our_optimizer = getattr(optim, name)([ours], **options)
    their_optimizer = getattr(torch.optim, name)([theirs], **options)
    for grad in GRADS.astype(dtype):
        ours.grad, theirs.grad = grad.copy(), torch.tensor(grad)
        our_optimizer.step()
        their_optimizer.step()
        np.testing.assert_allclose(ours.data, theirs.detach().numpy(), rtol=tolerance, atol=tolerance)


SCHEDULES = [
    ("StepLR", {"step_size": 3, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [2, 5, 6], "gamma": 0.3}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("CosineAnnealingLR", {"T_max": 12, "eta_min": 0.01}),
]


@pytest.mark.parametrize(("name", "options"), SCHEDULES, ids=str)
def test_schedules_equal_pytorchs(name, options):
    torch = pytest.importorskip("torch")
    ours = optim.SGD([{"params": [parameter()], "lr": 0.5}, {"params": [parameter()]}], lr=0.1)
    theirs = torch.optim.SGD([{"params": [torch.zeros(1)], "lr": 0.5}, {"params": [torch.zeros(1)]}], lr=0.1)
    our_schedule = getattr(optim, name)(ours, **options)
    their_schedule = getattr(torch.optim.lr_scheduler, name)(theirs, **options)
    for _ in range(12):
        assert our_schedule.get_last_lr() == pytest.approx(their_schedule.get_last_lr(), rel=1e-12, abs=1e-15)
        theirs.step()
        our_schedule.step()
        their_schedule.step()


@pytest.mark.parametrize("mode", ["min", "max"])
def test_plateau_equals_pytorchs(mode):
    torch = pytest.importorskip("torch")
    options = {"mode": mode, "factor": 0.5, "patience": 2, "cooldown": 1, "min_lr": 0.01}
    ours, theirs = optim.SGD([parameter()], lr=0.1), torch.optim.SGD([torch.zeros(1)], lr=0.1)
    our_schedule = optim.ReduceLROnPlateau(ours, **options)
    their_schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    for metric in [3, 2, 2, 2, 2, 2, 1.5, 1.5, 1.6, 1.7, 1.5, 1.5, 1.5, 5, 5, 5, 5, 5, 5]:
        our_schedule.step(metric)
        their_schedule.step(metric)
        assert ours.param_groups[0]["lr"] == theirs.param_groups[0]["lr"]


def test_warm_up_ramps_linearly_to_the_schedule_inside():
    optimizer = optim.SGD([parameter()], lr=1.0)
    schedule = optim.WarmUp(optim.StepLR(optimizer, 5, 0.1), steps=3)
    rates = []
    for _ in range(7):
        rates += schedule.get_last_lr()
        schedule.step()
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 0.1, 0.1])


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=str)
def test_a_restored_optimizer_goes_on_bit_for_bit(name, options):
    straight, resumed = parameter(np.float32), parameter(np.float32)
    first = getattr(optim, name)([straight], **options)
    for grad in GRADS[:5].astype(np.float32):
        straight.grad = grad
        first.step()
    saved = first.state_dict()
    resumed.data[...] = straight.data
    second = getattr(optim, name)([resumed], **{**options, "lr": 99.0})
    second.load_state_dict(saved)
    for grad in GRADS[5:].astype(np.float32):
        straight.grad = resumed.grad = grad
        first.step()
        second.step()
    assert straight.data.tobytes() == resumed.data.tobytes()


def test_a_restored_schedule_goes_on():
    def fresh():
        return optim.WarmUp(optim.CosineAnnealingLR(optim.SGD([parameter()], lr=0.3), 10), 2)

    straight, resumed = fresh(), fresh()
    for _ in range(4):
        straight.step()
    resumed.load_state_dict(straight.state_dict())
    assert resumed.get_last_lr() == straight.get_last_lr()
    straight.step()
    resumed.step()
    assert resumed.get_last_lr() == straight.get_last_lr()


@pytest.mark.parametrize("norm_type", [2.0, 1.0, float("inf")])
def test_clipping_equals_pytorchs(norm_type):
    torch = pytest.importorskip("torch")
    ours = [parameter(), parameter()]
    theirs = [torch.nn.Parameter(torch.tensor(START)) for _ in range(2)]
    for mine, other, grad in zip(ours, theirs, GRADS):
        mine.grad, other.grad = grad.copy(), torch.tensor(grad)
    norm = optim.clip_grad_norm_(ours, 0.7, norm_type)
    assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs, 0.7, norm_type)), rel=1e-12)
    for mine, other in zip(ours, theirs):
        np.testing.assert_allclose(mine.grad, other.grad.numpy(), rtol=1e-12)
    optim.clip_grad_value_(ours, 0.01)
    assert max(np.abs(p.grad).max() for p in ours) <= 0.01


def test_training_a_line_finds_it():
    x = tc.Tensor(RNG.normal(size=(50, 2)))
    target = x.data @ np.array([[2.0], [-3.0]]) + 1
    layer = nn.Linear(2, 1).to(np.float64)
    optimizer = optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    for _ in range(600):
        optimizer.zero_grad()
        tc.functional.mse_loss(layer(x), target).backward()
        optimizer.step()
    np.testing.assert_allclose(layer.weight.data, [[2, -3]], atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: optim.SGD([], lr=0.1), "SGD: the list of parameters is empty"),
        (lambda p: optim.SGD([p], lr=-1), "SGD: lr is -1, expected at least 0"),
        (lambda p: optim.SGD([p, p], lr=1), r"SGD: a parameter of shape \(4, 5\) is listed twice"),
        (lambda p: optim.SGD([p], nesterov=True), "SGD: nesterov needs momentum above 0"),
        (lambda p: optim.SGD([p * 2], lr=1), "is not a leaf that requires gradients"),
        (lambda p: optim.SGD([{"params": [p], "speed": 3}]), "unknown option 'speed' in a parameter group"),
        (lambda p: optim.Adam([p], betas=(0.9, 1.0)), r"Adam: betas\[1\] is 1.0, expected from 0 to below 1"),
        (lambda p: optim.AdamW([p], eps=-1), "AdamW: eps is -1, expected at least 0"),
        (lambda p: optim.StepLR(optim.SGD([p]), 0), "StepLR: step_size is 0"),
        (lambda p: optim.clip_grad_norm_([p], -1), "max_norm is -1"),
    ],
)
def test_arguments_out_of_range_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make(parameter())


def test_a_state_of_other_parameters_is_refused():
    first, second = optim.Adam([parameter()]), optim.Adam([nn.Parameter(np.zeros(3))])
    first.param_groups[0]["params"][0].grad = GRADS[0]
    first.step()
    with pytest.raises(CheckpointError, match=r"has shape \(4, 5\), expected \(3,\)"):
        second.load_state_dict(first.state_dict())
