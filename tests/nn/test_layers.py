"""Each layer and loss with every option computes the same as its function."""

import numpy as np
import pytest

import tinycnn as tc
from tests.activations import ACTIVATIONS
from tinycnn import functional as F
from tinycnn import nn

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 4, 9, 10)).astype(np.float32)
LOGITS = RNG.normal(size=(3, 5)).astype(np.float32)
WEIGHT = np.array([0.5, 1, 2, 0, 3], np.float32)


@pytest.mark.parametrize(
    ("layer", "function", "options"),
    [
        (nn.MaxPool2d, F.max_pool2d, {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2, "ceil_mode": True}),
        (nn.MaxPool2d, F.max_pool2d, {"kernel_size": (3, 2)}),
        (
            nn.AvgPool2d,
            F.avg_pool2d,
            {"kernel_size": 4, "stride": 3, "padding": 1, "ceil_mode": True, "count_include_pad": False},
        ),
        (nn.AvgPool2d, F.avg_pool2d, {"kernel_size": (2, 3), "padding": (1, 0)}),
        (nn.AdaptiveAvgPool2d, F.adaptive_avg_pool2d, {"output_size": (2, 3)}),
        *((getattr(nn, row.layer), getattr(F, name), row.options) for name, row in ACTIVATIONS.items() if row.options),
        (nn.Softmax, F.softmax, {"dim": 1}),
        (nn.LogSoftmax, F.log_softmax, {"dim": 1}),
        (nn.LocalResponseNorm, F.local_response_norm, {"size": 3, "alpha": 0.5, "beta": 0.6, "k": 2.5}),
        (nn.Flatten, tc.Tensor.flatten, {"start_dim": 2, "end_dim": 3}),
        (nn.Flatten, tc.Tensor.flatten, {"start_dim": 0, "end_dim": 2}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_layer_passes_all_options_on(layer, function, options):
    images = tc.Tensor(IMAGES)
    result = layer(**options)(images)
    np.testing.assert_array_equal(result.data, function(images, **options).data)
    if options.keys() - {"kernel_size"}:  # and they make a difference
        few = {name: value for name, value in options.items() if name in ("kernel_size", "size", "output_size")}
        plain = layer(**few)(images) if layer is not nn.AdaptiveAvgPool2d else images
        assert plain.shape != result.shape or not np.array_equal(plain.data, result.data)


@pytest.mark.parametrize("name", ["ceil_mode", "count_include_pad", "dilation", "padding"])
def test_each_option_of_a_pool_makes_a_difference(name):
    options = {"kernel_size": 3, "stride": 2, "padding": 1}
    layer, other = (
        (nn.MaxPool2d, {"dilation": 2}[name])
        if name == "dilation"
        else (nn.AvgPool2d, {"ceil_mode": True, "count_include_pad": False, "padding": 0}[name])
    )
    one, two = layer(**options)(tc.Tensor(IMAGES)), layer(**options | {name: other})(tc.Tensor(IMAGES))
    assert one.shape != two.shape or not np.array_equal(one.data, two.data)


@pytest.mark.parametrize("options", [{"stride": 2}, {"padding": (2, 1)}, {"dilation": 3}, {"groups": 2}, {}])
def test_a_convolution_passes_all_options_on(options):
    layer, images = nn.Conv2d(4, 6, 3, **options), tc.Tensor(IMAGES)
    np.testing.assert_array_equal(layer(images).data, F.conv2d(images, layer.weight, layer.bias, **options).data)


def test_same_padding_follows_each_side_of_the_kernel():
    images, layer = tc.Tensor(IMAGES), nn.Conv2d(4, 2, (3, 5), padding="same")
    expected = F.conv2d(images, layer.weight, layer.bias, padding=(1, 2)).data
    assert expected.shape == (2, 2, 9, 10)
    np.testing.assert_array_equal(layer(images).data, expected)


def test_batch_norm_passes_all_options_on():
    layer = nn.BatchNorm2d(4, eps=0.5, momentum=0.4)
    assert layer.running_mean.tolist() == [0] * 4 and layer.running_var.tolist() == [1] * 4
    mean, var = IMAGES.mean(axis=(0, 2, 3)), IMAGES.var(axis=(0, 2, 3))
    expected = (IMAGES - mean[:, None, None]) / np.sqrt(var + 0.5)[:, None, None]
    np.testing.assert_allclose(layer(tc.Tensor(IMAGES)).data, expected, rtol=1e-4, atol=1e-5)
    unbiased = var * 180 / 179
    np.testing.assert_allclose(layer.running_mean, 0.4 * mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(layer.running_var, 0.6 + 0.4 * unbiased, rtol=1e-5)
    running = layer.running_mean[:, None, None], np.sqrt(layer.running_var + 0.5)[:, None, None]
    layer.eval()
    np.testing.assert_allclose(layer(tc.Tensor(IMAGES)).data, (IMAGES - running[0]) / running[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("affine", "tracked"), [(False, True), (True, False)])
def test_batch_norm_has_what_is_asked_for(affine, tracked):
    layer = nn.BatchNorm2d(4, affine=affine, track_running_stats=tracked)
    assert [name for name, _ in layer.named_parameters()] == (["weight", "bias"] if affine else [])
    names = ["running_mean", "running_var", "num_batches_tracked"] if tracked else []
    assert [name for name, _ in layer.named_buffers()] == names


def test_dropout_draws_from_its_own_generator_in_training_only():
    ones = tc.Tensor(np.ones(100, np.float32))
    one, two = (nn.Dropout(0.25, tc.random.Generator(7))(ones).data for _ in range(2))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, F.dropout(ones, 0.25, generator=tc.random.Generator(7)).data)
    assert set(one.tolist()) == {0, np.float32(1 / 0.75)}
    np.testing.assert_array_equal(nn.Dropout(0.25).eval()(ones).data, ones.data)
    for make in (nn.Dropout, lambda generator: F.dropout(ones, generator=generator)):
        with pytest.raises(TypeError, match="generator is a int"):
            make(generator=7)


def test_dropout_of_a_part_of_the_batch_draws_what_the_whole_would():
    whole, part = tc.random.Generator(7), tc.random.Generator(7)
    part.row = 2
    ones = tc.Tensor(np.ones((4, 6), np.float32))
    expected = F.dropout(ones, 0.5, generator=whole).data[2:]
    np.testing.assert_array_equal(F.dropout(ones[2:], 0.5, generator=part).data, expected)


@pytest.mark.parametrize(
    "options",
    [
        {"weight": WEIGHT},
        {"ignore_index": 4},
        {"reduction": "none"},
        {"reduction": "sum"},
        {"label_smoothing": 0.2},
        {},
    ],
)
def test_losses_pass_all_options_on(options):
    logits, target = tc.Tensor(LOGITS), np.array([4, 0, 2])
    expected = F.cross_entropy(logits, target, **options).data
    np.testing.assert_array_equal(nn.CrossEntropyLoss(**options)(logits, target).data, expected)
    assert not options or not np.array_equal(expected, F.cross_entropy(logits, target).data)
    if "label_smoothing" not in options:
        np.testing.assert_array_equal(
            nn.NLLLoss(**options)(logits, target).data, F.nll_loss(logits, target, **options).data
        )
    if options.keys() <= {"reduction"}:
        np.testing.assert_array_equal(
            nn.MSELoss(**options)(logits, 2 * LOGITS).data, F.mse_loss(logits, 2 * LOGITS, **options).data
        )
