"""The profiler: every operation once, forward and backward, layer by layer; nothing is changed by it."""

import copy
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import functional as F
from tinycnn import nn
from tinycnn.cli import main


def net():
    tc.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))


def gradients(model):
    model.zero_grad()
    F.cross_entropy(model(tc.Tensor(np.ones((2, 1, 6, 6), np.float32))), np.array([0, 2])).backward()
    return [parameter.grad for parameter in model.parameters()]


def test_each_layers_operations_are_measured_and_unchanged():
    model = net()
    right = gradients(model)
    with tc.profile(model) as measured:
        for _ in range(2):
            found = gradients(model)
    for one, other in zip(right, found):
        np.testing.assert_array_equal(one, other)
    rows = {row.name: row for row in measured.rows}
    assert [*rows][:4] == ["0: Conv2d", "1: ReLU", "2: Reshape", "3: Linear"]
    assert all(row.calls == 2 and row.forward > 0 and row.backward > 0 for name, row in rows.items() if ":" in name)
    image = 2 * 4 * 36 * 4
    assert rows["0: Conv2d"].output == rows["1: ReLU"].output == 2 * image  # two steps, float32
    assert rows["1: ReLU"].saved == 2 * image and rows["2: Reshape"].saved == 0
    total = sum(row.forward + row.backward for row in measured.rows)
    assert total < measured.seconds
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_without_a_model_operations_are_added_up_and_nothing_is_measured_outside():
    x = tc.Tensor(np.ones(3), requires_grad=True)
    with tc.profile() as measured, tc.profile() as inner:
        (x * 2 * x).sum()
    (x * 2).sum()
    assert [(row.name, row.calls) for row in inner.rows] == [("Mul", 2), ("Sum", 1)]
    assert measured.rows == []  # the inner block measures
    assert "Mul" in str(inner) and "everything else" in str(inner)


def test_an_operation_inside_another_counts_for_itself():
    class Outer(tc.Function):
        def forward(self, x):
            return (tc.Tensor(x) * 2).data

    with tc.profile() as measured:
        Outer.apply(tc.Tensor([1.0]))
    assert {row.name: row.calls for row in measured.rows} == {"Outer": 1, "Mul": 1}


def test_an_error_in_an_operation_ends_the_measurement_in_order():
    class Fails(tc.Function):
        def forward(self, x):
            raise RuntimeError("no")

    model = net()
    with pytest.raises(RuntimeError, match="no"), tc.profile(model):
        Fails.apply(tc.Tensor([1.0]))
    assert tc.autograd.observer.get() is None
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_the_command_and_the_environment_variable(capsys):
    assert main(["profile", "lenet5", "--batch", "2", "--steps", "1"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("lenet5, 1 step of 2 images of 1x28x28") and "features.0: Conv2d" in out
    code = "import tinycnn as tc; (tc.Tensor([1.0], requires_grad=True) * 2).sum().backward()"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "TINYCNN_DEBUG": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0 and "Mul" in done.stderr and done.stdout == ""


def test_a_pre_hook_sees_and_may_replace_the_inputs():
    layer, seen = nn.Identity(), []
    hook = layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs))
    layer.register_forward_pre_hook(lambda module, inputs: inputs[0] * 3)
    assert layer(tc.Tensor([2.0])).item() == 6 and seen[0][0].item() == 2
    hook.remove()
    layer(tc.Tensor([2.0]))
    assert len(seen) == 1


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_of_a_measured_model_is_not_measured(copied):
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    with tc.profile(model) as measured:
        copied(model)(tc.Tensor(np.ones((2, 4), np.float32)))
    assert [row.name for row in measured.rows] == ["Linear", "ReLU"]  # operations outside the model
