"""Every operation on the device "cuda" against finite differences."""

import numpy as np
import pytest

import tinycnn as tc
from tests.ops.test_gradients import ELEMENTWISE, ON_IMAGES
from tinycnn import functional as F
from tinycnn.errors import GradcheckError


def check(function, *shapes):
    rng = np.random.default_rng(1)
    inputs = [tc.Tensor(rng.normal(size=shape)).to("cuda") for shape in shapes]
    for x in inputs:
        x.requires_grad = True
    assert function(*inputs).device == "cuda"
    assert tc.gradcheck(function, inputs).max_error < 1e-6


OTHERS = {
    "matmul": lambda x: x @ x.T * x.mean(),
    "mse_loss": lambda x: F.mse_loss(x, tc.Tensor(np.ones(x.shape)).to("cuda")),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_any_shape(name, runtime):
    check(OTHERS.get(name, ELEMENTWISE[name]), (2, 2))


@pytest.mark.parametrize("name", ON_IMAGES)
def test_images(name, runtime):
    check(ON_IMAGES[name], (1, 2, 2, 3))


@pytest.mark.parametrize("options", [{"stride": (2, 1), "padding": 1}, {"groups": 2, "dilation": (1, 2)}], ids=str)
def test_conv2d(options, runtime):
    groups = options.get("groups", 1)
    check(lambda x, w, b: F.conv2d(x, w, b, **options), (1, 2, 2, 3), (2, 2 // groups, 2, 1), (2,))


def test_linear_and_batch_norm_with_their_parameters(runtime):
    check(F.linear, (3, 4), (2, 4), (2,))
    check(lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), (2, 2, 3), (2,), (2,))


def test_a_wrong_gradient_is_found(runtime):
    class Wrong(tc.Function):
        def forward(self, x):
            return self.kernels.relu(x)

        def backward(self, grad):
            return grad

    with pytest.raises(GradcheckError):
        check(Wrong.apply, (2, 3))
