"""The gradient check itself: it passes right gradients and catches the classic mistakes."""

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import functional as F
from tinycnn import nn
from tinycnn.autograd import Function
from tinycnn.errors import GradcheckError


def random_tensor(*shape, seed=0):
    return tc.Tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=True)


def faulty(factor):
    class Cube(Function):
        def forward(self, x):
            self.save(x)
            return x**3

        def backward(self, grad):
            (x,) = self.saved
            return factor(3 * x**2 * grad)

    return Cube.apply


@pytest.mark.parametrize(
    ("factor", "hint"),
    [
        (lambda g: 2 * g, "2 times too large"),
        (lambda g: -g, "the sign is wrong"),
        (lambda g: 0 * g, "backward is 0 everywhere"),
        (lambda g: g / g.size, "a missing accumulation, or a mean for a sum"),
        (lambda g: g[::-1], "transposed or flipped"),
    ],
)
def test_a_wrong_backward_is_caught_with_a_hint(factor, hint):
    with pytest.raises(GradcheckError, match=hint) as caught:
        tc.gradcheck(faulty(factor), [random_tensor(5)])
    assert "input 0 at (0,)" in str(caught.value) and "finite difference" in str(caught.value)


def test_one_wrong_border_pixel_is_caught():
    class BadPad(Function):
        def forward(self, x):
            return x * 2

        def backward(self, grad):
            out = grad * 2
            out[..., -1, -1] *= 1.001
            return out

    with pytest.raises(GradcheckError, match=r"input 0 at \(0, 3, 4\)"):
        tc.gradcheck(BadPad.apply, [random_tensor(1, 4, 5)])


def test_kinks_are_told_apart_from_errors():
    x = tc.Tensor(np.array([-1.0, 0.0, 1e-9, 2.0]), requires_grad=True)
    report = tc.gradcheck(F.relu, [x])
    assert report.passed and report.kinks == 2 and report.checked == 2


def test_ties_in_a_max_are_kinks():
    x = tc.Tensor(np.array([[[[1.0, 1.0], [0.0, 0.5]]]]), requires_grad=True)
    report = tc.gradcheck(lambda x: F.max_pool2d(x, 2), [x])
    assert report.passed and report.kinks == 2


def test_float32_is_refused():
    with pytest.raises(TypeError, match="input 0 has dtype float32, expected float64"):
        tc.gradcheck(F.relu, [tc.Tensor([1.0], requires_grad=True)])


def test_model_check_covers_dropout_and_batch_norm_in_training():
    tc.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(80, 3),
    )
    report = tc.gradcheck_model(model, np.random.default_rng(1).normal(size=(3, 2, 4, 5)), target=[0, 1, 2])
    assert report.passed and report.max_error < 1e-6
    assert report.checked >= 3 + 2 * 6


def test_model_check_catches_a_wrong_parameter_gradient():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(np.ones(3))

        def forward(self, x):
            return x * self.scale.detach() + self.scale * 0.0

    with pytest.raises(GradcheckError, match="scale at"):
        tc.gradcheck_model(Scale(), np.ones((2, 3)))


def test_a_kink_beside_a_larger_one_is_told_apart_from_an_error():
    x = tc.Tensor(np.zeros(1), requires_grad=True)

    def bent(x):
        return 5 * x + F.relu(x - 3e-9) + 3 * F.relu(x - 5e-8)

    report = tc.gradcheck(bent, [x], raise_error=False)
    assert report.kinks == 1 and not report.mismatches


@pytest.mark.parametrize(("factor", "right"), [(1 + 5e-6, False), (1 + 5e-7, True), (1 - 5e-6, False)])
def test_the_tolerance_is_a_millionth(factor, right):
    report = tc.gradcheck(faulty(lambda grad: factor * grad), random_tensor(2), raise_error=False)
    assert report.passed is right and report.max_error < 2 * abs(factor - 1)


def test_a_small_derivative_beside_large_ones_is_checked_too():
    class Scaled(Function):
        def forward(self, x):
            return x * [1000.0, 1.0]

        def backward(self, grad):
            return grad * [1000.0, 1.0001]

    x = random_tensor(2)
    report = tc.gradcheck(Scaled.apply, x, raise_error=False)
    assert [mismatch.where for mismatch in report.mismatches] == ["input 0 at (1,)"]


def test_a_check_of_nothing_has_not_passed():
    x = tc.Tensor(np.zeros(3), requires_grad=True)
    report = tc.gradcheck(F.relu, x, raise_error=False)
    assert (report.checked, report.kinks, report.passed) == (0, 3, False)


def test_gradients_and_the_generator_are_as_before():
    x = random_tensor(3)
    x.grad = np.array([1.0, 2.0, 3.0])
    model = nn.Sequential(nn.Linear(3, 2), nn.Tanh()).to(np.float64)
    model[0].bias.grad = np.array([4.0, 5.0])
    before = tc.random.default_generator().get_state()
    tc.gradcheck(lambda x: F.dropout(x * x, 0.5), x)
    tc.gradcheck_model(model, np.ones((2, 3)))
    assert tc.random.default_generator().get_state() == before
    assert x.grad.tolist() == [1, 2, 3] and model[0].bias.grad.tolist() == [4, 5] and model[0].weight.grad is None


def test_running_statistics_are_as_before():
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    before = [array.copy() for _, array in model.named_buffers()]
    tc.gradcheck_model(model, np.random.default_rng(0).normal(size=(3, 2, 2, 2)), [0, 1, 1])
    for (_, array), old in zip(model.named_buffers(), before, strict=True):
        np.testing.assert_array_equal(array, old)


def test_running_statistics_of_a_float64_model_stay_too():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2 * 4, 2)).to(np.float64)
    norm, rng = model[1], np.random.default_rng(0)
    norm.running_mean[:], before = 0.5, norm.running_mean
    tc.gradcheck_model(model, rng.normal(size=(3, 1, 4, 4)), np.array([0, 1, 1]))
    assert norm.running_mean is before and before.tolist() == [0.5, 0.5] and norm.running_var.tolist() == [1, 1]
    assert int(norm.num_batches_tracked) == 0


@pytest.mark.parametrize("seed", [-1, 0.5, None, np.ones(2)])
def test_a_seed_that_is_not_an_integer_is_named(seed):
    x, model = random_tensor(2), nn.Linear(2, 1)
    with pytest.raises((TypeError, ValueError), match=r"^gradcheck: seed is "):
        tc.gradcheck(lambda x: x * x, [x], seed=seed)
    with pytest.raises((TypeError, ValueError), match=r"^gradcheck_model: seed is "):
        tc.gradcheck_model(model, np.ones((1, 2)), seed=seed)


def test_a_model_that_is_not_a_module_is_named():
    with pytest.raises(TypeError, match=r"^gradcheck_model: model is "):
        tc.gradcheck_model((3, 3), np.ones((1, 2)))
