"""Every operation against finite differences, over several shapes."""

from functools import partial

import numpy as np
import pytest

import tinycnn as tc
from tests.activations import ACTIVATIONS
from tinycnn import functional as F
from tinycnn.random import Generator

IMAGES = [(1, 1, 3, 4), (2, 4, 5, 3), (3, 2, 4, 6)]
MATRICES = [(3,), (2, 3), (2, 1, 4)]

ELEMENTWISE = {
    "add": lambda x: x + x * 2,
    "sub": lambda x: 1 - x,
    "mul": lambda x: x * x,
    "div": lambda x: x / (x * x + 1),
    "pow": lambda x: (x * x + 1) ** 1.5,
    "rpow": lambda x: 2**x,
    "exp": lambda x: x.exp(),
    "log": lambda x: (x * x + 0.5).log(),
    "sqrt": lambda x: (x * x + 0.5).sqrt(),
    "abs": abs,
    "maximum": lambda x: tc.maximum(x, x * x - 1),
    "clip": lambda x: x.clip(-0.4, 0.6),
    "where": lambda x: tc.where(x > 0, x * x, x * 3),
    "sum": lambda x: (x * x).sum(-1),
    "mean": lambda x: (x * x).mean(),
    "var": lambda x: x.var(),
    "max": lambda x: x.max(0).values,
    "reshape": lambda x: (x * x).reshape(-1),
    "index": lambda x: (x * x)[..., ::-1],
    "concatenate": lambda x: tc.concatenate([x, x * x], dim=-1),
    "stack": lambda x: tc.stack([x, x * x]),
    "broadcast_to": lambda x: (x * x).broadcast_to((2, *x.shape)),
    "matmul": lambda x: x @ tc.Tensor(np.ones((x.shape[-1], 2))) * x.mean(),
    **{name: partial(getattr(F, name), **row.options) for name, row in ACTIVATIONS.items()},
    "softmax": F.softmax,
    "log_softmax": F.log_softmax,
    "dropout": lambda x: F.dropout(x, 0.4, generator=Generator(2)),
    "mse_loss": lambda x: F.mse_loss(x, np.ones(x.shape)),
}
ON_IMAGES = {
    "pad": lambda x: tc.pad(x, (1, 2, 0, 1)),
    "permute": lambda x: x.permute(3, 1, 0, 2),
    "max_pool2d": lambda x: F.max_pool2d(x, (2, 3), 1, 1, ceil_mode=True),
    "avg_pool2d": lambda x: F.avg_pool2d(x, (3, 2), 2, 1, True, False),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, (2, 5)),
    "global_avg_pool2d": F.global_avg_pool2d,
    "batch_norm": lambda x: F.batch_norm(x, None, None, training=True),
    "local_response_norm": lambda x: F.local_response_norm(x, 3, 0.5, 0.75, 1.5),
    "cross_entropy": lambda x: F.cross_entropy(x, np.zeros((x.shape[0], *x.shape[2:]), int), label_smoothing=0.2),
}


def check(function, *shapes):
    rng = np.random.default_rng(len(shapes[0]))
    report = tc.gradcheck(function, [tc.Tensor(rng.normal(size=shape), requires_grad=True) for shape in shapes])
    assert report.max_error < 1e-6


@pytest.mark.parametrize("shape", MATRICES, ids=str)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_any_shape(name, shape):
    check(ELEMENTWISE[name], shape)


@pytest.mark.parametrize("shape", IMAGES, ids=str)
@pytest.mark.parametrize("name", ON_IMAGES)
def test_images(name, shape):
    check(ON_IMAGES[name], shape)


@pytest.mark.parametrize(
    ("x", "weight", "options"),
    [
        ((1, 1, 1, 1), (2, 1, 1, 1), {}),
        ((2, 3, 5, 4), (2, 3, 3, 2), {"stride": (2, 1), "padding": (1, 0)}),
        ((1, 4, 6, 5), (6, 2, 2, 3), {"groups": 2, "dilation": (2, 1), "padding": 1}),
        ((2, 3, 4, 7), (3, 1, 3, 3), {"groups": 3, "stride": 3, "padding": 2}),
    ],
)
def test_conv2d(x, weight, options):
    check(lambda x, w, b: F.conv2d(x, w, b, **options), x, weight, weight[:1])


def test_linear_batch_norm_and_losses_of_several_inputs():
    check(F.linear, (3, 4), (2, 4), (2,))
    check(lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), (4, 3, 2), (3,), (3,))
    check(lambda x, w, b: F.batch_norm(x, np.ones(3), np.full(3, 2.0), w, b), (4, 3, 2), (3,), (3,))
    check(lambda x: F.cross_entropy(x, [0, 2, 1], weight=[1, 2, 3], ignore_index=1), (3, 3))
    check(lambda x: F.nll_loss(F.log_softmax(x, 1), [0, 2, 1], weight=[1, 2, 3]), (3, 3))
