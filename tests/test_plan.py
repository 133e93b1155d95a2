"""The plan of a network: algorithms, loops and workspaces as they ran; nothing is changed by it."""

from pathlib import Path

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import nn
from tinycnn.cli import main
from tinycnn.kernels.cpu import conv
from tinycnn.kernels.cpu.machine.record import recorded
from tinycnn.kernels.geometry import ConvShape

KERNELS = Path(conv.__file__).parents[1]


def net():
    tc.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 5, padding="same"), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16), nn.MaxPool2d(2)),
        *(nn.Dropout(0.5), nn.Flatten(), nn.Linear(16 * 9, 3)),
    )


def rows_of(plan):
    return {(row.layer, row.operation): row for row in plan.rows}


def names(loops):
    return [loop.name for loop in loops]


def test_each_layer_has_its_shapes_algorithm_and_loops():
    plan = tc.plan(net(), (4, 1, 8, 8))
    rows = rows_of(plan)
    assert [layer for layer, _ in rows] == list("01234567") and plan.kernels == "cpu"
    first, second = rows["0", "Conv2d"], rows["2", "Conv2d"]
    assert (first.input, first.output) == ((4, 1, 8, 8), (4, 16, 8, 8))
    assert (first.algorithm, first.reason) == ("direct", "winograd cannot take channels that are not multiples of 16")
    assert second.algorithm == "winograd"
    shape = ConvShape.of((4, 16, 8, 8), (16, 16, 3, 3))
    assert second.reason == conv.plan(shape, "auto").reason
    assert "conv/direct.py _correlate" in names(first.forward.loops)
    assert "conv/direct.py _gradient" in names(first.backward.loops)
    assert names(second.forward.loops) == ["conv/winograd.py _transform_weights", "conv/winograd.py _convolve_tiles"]
    assert second.forward.workspace > 0
    assert rows["4", "MaxPool2d"].forward.loops == (("pooling.py _max_pool2d_loop", 1, 4 * 3),)  # images, output rows
    assert rows["6", "Reshape"].forward.loops == () and rows["6", "Reshape"].output == (4, 144)
    for row in plan.rows:
        for loop in (*row.forward.loops, *row.backward.loops):
            file, function = loop.name.split()
            assert f"def {function}(" in (KERNELS / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("algorithm", ["im2col", "direct", "winograd"])
def test_the_loops_are_those_that_run_when_the_convolution_is_called(algorithm):
    model = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1))
    with tc.convolution_algorithm(algorithm):
        (row,) = tc.plan(model, (2, 16, 9, 7)).rows
    assert (row.algorithm, row.reason) == (algorithm, "asked for")
    x, weight = np.zeros((2, 16, 9, 7), np.float32), model[0].weight.data
    with recorded() as record:
        conv.conv2d(x, weight, None, ConvShape.of(x.shape, weight.shape, padding=1), algorithm)
    ran = {name for name, _ in record.loops}
    assert ran and ran <= set(names(row.forward.loops))
    assert sum(tasks for _, tasks in record.loops) <= sum(loop.tasks for loop in row.forward.loops)
    if algorithm == "im2col":  # image by image
        assert {loop.calls for loop in row.forward.loops if "im2col" in loop.name} == {2}


def test_a_plan_changes_nothing():
    model = net()
    for parameter in model.parameters():
        parameter.grad = np.ones(parameter.shape, np.float32)
    before = {name: array.copy() for name, array in model.state_dict().items()}
    tc.manual_seed(3)
    right = tc.functional.dropout(tc.Tensor(np.ones(50)), 0.5).data
    tc.manual_seed(3)
    tc.plan(model, (4, 1, 8, 8))
    np.testing.assert_array_equal(tc.functional.dropout(tc.Tensor(np.ones(50)), 0.5).data, right)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert all((parameter.grad == 1).all() for parameter in model.parameters()) and model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_the_plan_of_the_reference_says_that_it_has_no_loops():
    with tc.use_kernels("reference"):
        plan = tc.plan(net(), (2, 1, 8, 8))
    assert plan.kernels == "reference" and "kernels: reference, in NumPy" in str(plan)
    assert all(row.forward.loops == row.backward.loops == () and not row.algorithm for row in plan.rows)


def test_the_mode_decides_which_loops_run():
    model = net()
    training, evaluating = (rows_of(tc.plan(model.train(mode), (4, 1, 8, 8))) for mode in (True, False))
    loops = [names(rows["3", "BatchNorm"].forward.loops) for rows in (training, evaluating)]
    assert "normalization.py _moments_loop" in loops[0] and "normalization.py _moments_loop" not in loops[1]


def test_the_text_has_a_line_for_each_loop():
    plan = tc.plan(net(), (4, 1, 8, 8))
    text = str(plan)
    assert text.startswith("Sequential, input 4x1x8x8, ")
    assert "\n2: Conv2d, 4x16x8x8 to 4x16x6x6, winograd: fewer multiplications\n    forward   conv/winograd.py" in text
    loops = sum(len(row.forward.loops) + len(row.backward.loops) for row in plan.rows)
    assert len(text.splitlines()) == 2 + len(plan.rows) + loops


def test_nonsense_is_refused_by_name():
    with pytest.raises(TypeError, match="plan: model is a str, expected a Module"):
        tc.plan("resnet20", (1, 3, 32, 32))
    for shape in ((1, 0, 8, 8), 5, (1, 2.5), ()):
        with pytest.raises(ValueError, match="plan: input_shape is"):
            tc.plan(net(), shape)
    with pytest.raises(ValueError, match=r"conv2d: input has shape \(1, 8, 8\), expected \(N, C, H, W\)"):
        tc.plan(net(), (1, 8, 8))


def test_the_command(capsys):
    assert main(["plan", "lenet5", "--batch", "2"]) == 0
    out = capsys.readouterr().out
    assert "LeNet, input 2x1x28x28" in out and "features.0: Conv2d, 2x1x28x28 to 2x20x24x24, direct: " in out
    assert main(["plan", "lenet6"]) == 1
    assert "unknown model 'lenet6'; did you mean lenet5" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["plan", "lenet5", "--batch", "0"])
    assert "argument --batch: '0', expected a whole number of at least 1" in capsys.readouterr().err
