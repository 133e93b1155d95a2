"""Every architecture against finite differences, in training mode: dropout and batch norm included.

At reduced width a sample of every parameter tensor is checked element by element; at the published size (``-m slow``)
the whole network along random directions. ``python -m benchmarks.accuracy gradients`` prints the largest errors.
"""

import numpy as np
import pytest

import tinycnn as tc

REDUCED = {
    "lenet5": {"width": 0.25, "in_channels": 3},
    "alexnet": {"width": 0.125},
    "alexnet_2012": {"width": 0.125},
    "alexnet_article": {"width": 0.125},
    "vgg11": {"width": 0.0625},
    "vgg11_bn": {"width": 0.0625},
    "resnet18": {"width": 0.125},
    "resnet50": {"width": 0.0625},
    "resnet20": {"width": 0.25},
    "plain20": {"width": 0.25},
    "squeezenet1_0": {"width": 0.25},
    "squeezenet1_1": {"width": 0.25, "bypass": "simple"},
    "squeezenet1_1 ": {"width": 0.25, "bypass": "complex"},
}
FULL = (
    "alexnet",
    "alexnet_2012",
    "vgg11",
    "vgg16_bn",
    "resnet18",
    "resnet50",
    "squeezenet1_0",
    "squeezenet1_1",
)


def check(name, size, batch, samples, **options):
    tc.manual_seed(1)
    model = tc.models.build(name.strip(), num_classes=5, **options)
    rng = np.random.default_rng(2)
    images = rng.normal(size=(batch, 3, size, size))
    return tc.gradcheck_model(model, images, target=rng.integers(5, size=batch), samples=samples)


def check_reduced(name):
    """Check a sample of every parameter tensor, at reduced width."""
    return check(name, 32 if "20" in name[-3:] and "2012" not in name else 67, 2, 2, **REDUCED[name])


def check_full(name):
    """Check random directions through the whole network, at its published size."""
    return check(name, 224, 2, 0)


@pytest.mark.parametrize("name", REDUCED)
def test_reduced_width_every_parameter_tensor(name):
    report = check_reduced(name)
    assert report.max_error < 1e-6
    assert report.kinks <= 0.2 * (report.checked + report.kinks)


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
def test_published_size_along_random_directions(name):
    report = check_full(name)
    assert report.max_error < 1e-6
