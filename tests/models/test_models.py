"""The networks: exact parameter counts, torchvision's names, options, small images, bad arguments."""

import hashlib
import inspect

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import nn
from tinycnn.errors import UnknownNameError
from tinycnn.models.common import kaiming_init
from tinycnn.nn import init

PARAMETERS = {
    "lenet5": 431_080,
    "alexnet_article": 28_868_968,
    "alexnet_2012": 60_965_224,
    "alexnet": 61_100_840,
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "vgg11_bn": 132_868_840,
    "vgg13_bn": 133_053_736,
    "vgg16_bn": 138_365_992,
    "vgg19_bn": 143_678_248,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "resnet1202": 19_421_274,
    "squeezenet1_0": 1_248_424,
    "squeezenet1_1": 1_235_496,
}

# Of the lines "name shape" of torchvision 0.28's state dicts, the first 16 digits of SHA-256:
# "\n".join(f"{name} {tuple(tensor.shape)}" for name, tensor in net.state_dict().items())
TORCHVISION = {
    "alexnet": "9c198ebdae1863e4",
    "vgg11": "cb3dc23f2a13e182",
    "vgg13": "67c1dc8b57fde74b",
    "vgg16": "35c4623e0cd4a39d",
    "vgg19": "4723255af8f6c485",
    "vgg11_bn": "8b6717e727c0ecf9",
    "vgg13_bn": "f6b0597d18a7e4d2",
    "vgg16_bn": "347371586a8ea365",
    "vgg19_bn": "fc3ff6fab2b5cc09",
    "resnet18": "84fb10d9c6905a1c",
    "resnet34": "28f9096d51307499",
    "resnet50": "d7e4f8bb0a536344",
    "resnet101": "02c0f34f4842751f",
    "resnet152": "685c66205bc823aa",
    "squeezenet1_0": "4654d26ad581241f",
    "squeezenet1_1": "1d365589393f9c1e",
}

CIFAR = (8, 14, 20, 32, 44, 56, 110, 1202)
IMAGENET = (18, 34, 50, 101, 152)


@pytest.fixture
def blank(monkeypatch):
    """Make models without random weights: only their structure is needed, and drawing takes seconds."""
    for name in ("uniform_", "normal_"):
        monkeypatch.setattr(init, name, lambda tensor, *args, **options: tensor)


def count(model):
    return sum(p.size for p in model.parameters())


def images(size, channels=3, batch=2, width=None):
    shape = (batch, channels, size, width or size)
    return tc.Tensor(np.random.default_rng(0).normal(size=shape).astype(np.float32))


@pytest.mark.parametrize("name", PARAMETERS)
def test_exact_parameter_counts(name, blank):
    assert count(tc.models.build(name)) == PARAMETERS[name]


@pytest.mark.parametrize("name", TORCHVISION)
def test_names_and_shapes_are_torchvisions(name, blank):
    lines = "\n".join(f"{key} {array.shape}" for key, array in tc.models.build(name).state_dict().items())
    assert hashlib.sha256(lines.encode()).hexdigest()[:16] == TORCHVISION[name]


def test_the_registry_holds_what_the_package_exports():
    families = {f"{kind}{depth}" for kind in ("resnet", "plain") for depth in (*CIFAR, *IMAGENET)}
    assert set(tc.models.names()) == families | set(PARAMETERS)
    for name in tc.models.names():
        function = getattr(tc.models, name)
        assert function.__name__ == name and name in tc.models.__all__ and function.__doc__


@pytest.mark.parametrize("name", sorted({*PARAMETERS, *(f"plain{depth}" for depth in (*CIFAR, *IMAGENET))}))
def test_ten_classes_for_nets_of_small_images_a_thousand_for_others(name):
    small = name in {"lenet5", *(f"{family}{depth}" for family in ("resnet", "plain") for depth in CIFAR)}
    default = inspect.signature(getattr(tc.models, name)).parameters["num_classes"].default
    assert default == (10 if small else 1000)


@pytest.mark.parametrize("depth", CIFAR)
def test_a_plain_cifar_twin_has_the_same_parameters(depth, blank):
    residual, plain = (tc.models.build(f"{family}{depth}", width=0.25) for family in ("resnet", "plain"))
    shapes = [{key: array.shape for key, array in net.state_dict().items()} for net in (residual, plain)]
    assert list(shapes[0].items()) == list(shapes[1].items())


def test_a_plain_twin_computes_something_else():
    residual, plain = (tc.models.build(f"{family}20", width=0.25).eval() for family in ("resnet", "plain"))
    plain.load_state_dict(residual.state_dict())
    assert not np.allclose(residual(images(16)).data, plain(images(16)).data, rtol=0.1)


@pytest.mark.parametrize("depth", IMAGENET)
def test_a_plain_twin_lacks_just_the_projections(depth, blank):
    residual, plain = (tc.models.build(f"{family}{depth}", width=0.125) for family in ("resnet", "plain"))
    missing = set(residual.state_dict()) - set(plain.state_dict())
    assert missing and all(".downsample." in name for name in missing)
    assert set(plain.state_dict()) <= set(residual.state_dict())


def test_bypasses_of_squeezenet(blank):
    nets = {kind: tc.models.squeezenet1_0(bypass=kind) for kind in ("none", "simple", "complex")}
    assert list(nets["simple"].state_dict()) == list(nets["none"].state_dict())
    around = {3: (96, 128), 5: (128, 256), 8: (256, 384), 10: (384, 512)}  # Fire 2, 4, 6 and 8
    extra = {f"features.{i}.bypass.weight": (o, c, 1, 1) for i, (c, o) in around.items()}
    extra |= {f"features.{i}.bypass.bias": (o,) for i, (_, o) in around.items()}
    shapes = {key: array.shape for key, array in nets["complex"].state_dict().items()}
    assert shapes == {key: array.shape for key, array in nets["none"].state_dict().items()} | extra
    assert count(nets["complex"]) == 1_248_424 + sum(c * o + o for c, o in around.values())


@pytest.mark.parametrize(
    ("name", "width", "channels"),
    [
        ("alexnet", 0.5, {"features.0": 32, "features.3": 96, "classifier.1": 2048}),
        ("alexnet_2012", 0.02, {"features.0": 2, "features.4": 6, "features.8": 8}),  # even, for two groups
        ("vgg11", 0.25, {"features.0": 16, "classifier.0": 1024}),
        ("vgg11", 1e-9, {"features.0": 1, "classifier.0": 1}),
        ("resnet18", 2, {"conv1": 128, "layer4.1.conv2": 1024}),
        ("resnet50", 0.125, {"conv1": 8, "layer1.0.conv3": 32, "layer4.0.downsample.0": 256}),
        ("resnet20", 0.3, {"conv1": 5, "layer2.0.conv1": 10, "layer3.0.conv1": 19}),
        ("squeezenet1_0", 0.5, {"features.0": 48, "features.3.squeeze": 8, "features.3.expand3x3": 32}),
    ],
)
def test_width_multiplies_channels(name, width, channels, blank):
    state = tc.models.build(name, width=width, num_classes=7, in_channels=2).state_dict()
    assert {key: state[f"{key}.weight"].shape[0] for key in channels} == channels
    weights = [array for key, array in state.items() if key.endswith("weight") and array.ndim > 1]
    assert weights[0].shape[1] == 2 and weights[-1].shape[0] == 7


TRAINED = [name for name in tc.models.names() if name[-3:] not in ("101", "110", "152", "202")]


@pytest.mark.parametrize("name", TRAINED)
def test_images_of_28_pixels_train(name):
    tc.manual_seed(0)
    model = tc.models.build(name, num_classes=4, in_channels=1, width=0.0625, small_input=True)
    tc.functional.cross_entropy(model(images(28, channels=1)), [0, 3]).backward()
    assert all(p.grad is not None and np.isfinite(p.grad).all() for p in model.parameters())
    assert model(images(32, channels=1, width=36)).shape == (2, 4)


SMALLEST = {"alexnet": (63, 15), "alexnet_2012": (63, 15), "alexnet_article": (63, 15), "vgg11": (32, 17)}
SMALLEST |= {
    "lenet5": (16, 16),
    "vgg13_bn": (32, 17),
    "squeezenet1_0": (29, 12),
    "squeezenet1_1": (25, 12),
    "resnet18": (1, 1),
}


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("name", SMALLEST)
def test_the_smallest_image_works_and_a_smaller_one_says_what_is_needed(name, small):
    least = SMALLEST[name][small]
    model = tc.models.build(name, num_classes=3, in_channels=3, width=0.03, small_input=small).eval()
    with tc.no_grad():
        assert model(images(least, width=least + 9)).shape == (2, 3)
        if least > 1:
            with pytest.raises(ValueError, match=f"images are {least}x{least - 1}, expected at least {least}x{least}"):
                model(images(least, width=least - 1))


def test_too_small_an_image_leads_to_small_input():
    with pytest.raises(ValueError) as caught:
        tc.models.alexnet(width=0.03)(images(32, width=40))
    assert str(caught.value) == (
        "alexnet: images are 32x40, expected at least 63x63; built with small_input=True it takes 15x15"
    )


BAD = [
    (lambda: tc.models.vgg11(width=0), "width is 0, expected a number above 0"),
    (lambda: tc.models.VGG(12), "vgg: depth is 12, expected one of 11, 13, 16, 19"),
    (lambda: tc.models.cifar_resnet(21), r"cifar_resnet: depth is 21, expected 6n \+ 2: 8, 14, 20"),
    (lambda: tc.models.imagenet_resnet(20), "imagenet_resnet: depth is 20, expected one of 18, 34, 50, 101, 152"),
    (lambda: tc.models.resnet18(stride_in_1x1=True), "stride_in_1x1 with depth 18, expected 50 or more"),
    (lambda: tc.models.SqueezeNet("1_2"), "squeezenet: version is '1_2', expected one of 1_0, 1_1"),
    (lambda: tc.models.squeezenet1_0(bypass="double"), "bypass is 'double', expected one of none, simple, complex"),
    (lambda: tc.models.alexnet(width=0.03, dropout=2), "Dropout: p is 2, expected a probability from 0 to 1"),
    (lambda: tc.models.resnet8(num_classes=0), "Linear: out_features is 0, expected an integer of at least 1"),
]


@pytest.mark.parametrize(("build", "message"), BAD)
def test_bad_arguments_say_what_was_expected(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_the_wrong_number_of_channels_says_so():
    with pytest.raises(ValueError, match="input has 3 channels but weight"):
        tc.models.resnet8(in_channels=1)(images(8))


def test_an_unknown_model_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown model 'resnet19'; did you mean resnet1"):
        tc.models.build("resnet19")


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "vgg11_bn", "resnet8", "plain8", "squeezenet1_1"])
def test_the_seed_decides_the_start(name):
    def start(seed):
        tc.manual_seed(seed)
        return tc.models.build(name, width=0.03).state_dict()

    first, again, other = start(1), start(1), start(2)
    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert not any(np.array_equal(first[key], other[key]) for key in first if first[key].ndim > 1)


@pytest.mark.parametrize("name", ["vgg11", "vgg16_bn", "resnet18", "resnet56", "resnet1202"])
def test_convolutions_start_he_normal(name):
    """Zero mean and variance 2 / (output channels * kernel area), over all convolutions together."""
    tc.manual_seed(0)
    model = tc.models.build(name, width=0.25)
    scaled = np.concatenate(
        [
            (m.weight.data * np.sqrt(m.weight.shape[0] * m.weight[0, 0].size / 2)).ravel()
            for m in model.modules()
            if isinstance(m, tc.nn.Conv2d)
        ]
    )
    assert abs(scaled.mean()) < 5 / np.sqrt(scaled.size)
    assert scaled.std() == pytest.approx(1, abs=5 / np.sqrt(scaled.size))


def test_resnet_1202_takes_a_step():
    tc.manual_seed(0)
    model = tc.models.resnet1202(width=0.125)
    tc.functional.cross_entropy(model(images(8)), [1, 2]).backward()
    assert np.isfinite(model.conv1.weight.grad).all() and model.conv1.weight.grad.any()


def test_a_bottleneck_strides_in_its_3x3_and_the_papers_in_its_first_1x1():
    for block, strides in ((tc.models.resnet.Bottleneck, (1, 2)), (tc.models.resnet.BottleneckOfPaper, (2, 1))):
        made = block(16, 8, 2)
        assert (made.conv1.stride, made.conv2.stride) == tuple((s, s) for s in strides)
        assert made.conv3.stride == (1, 1)


def test_a_shortcut_without_weights_pads_as_many_channels_before_as_behind():
    shortcut = tc.models.resnet20().layer2[0].downsample
    x = np.random.default_rng(0).normal(size=(1, 16, 4, 4)).astype(np.float32)
    out = shortcut(tc.Tensor(x)).data
    np.testing.assert_array_equal(out[:, 8:24], x[:, :, ::2, ::2])
    assert out.shape == (1, 32, 2, 2) and not out[:, :8].any() and not out[:, 24:].any()


def test_squeezenets_last_convolution_starts_smaller():
    net = tc.models.squeezenet1_1()
    assert np.std(net.classifier[1].weight.data) == pytest.approx(0.01, rel=0.02)


def test_the_net_of_2012_normalises_over_channels_as_its_paper_gives():
    net = tc.models.alexnet_2012(width=0.05)
    norms = [module for module in net.modules() if isinstance(module, nn.LocalResponseNorm)]
    assert [(m.size, m.alpha, m.beta, m.k) for m in norms] == [(5, 5e-4, 0.75, 2.0)] * 2  # alpha of a mean: 5 * 1e-4


def test_dropout_is_that_of_both_hidden_layers():
    for build in (tc.models.alexnet, tc.models.vgg11):
        drops = [m.p for m in build(width=0.05, dropout=0.3).modules() if isinstance(m, nn.Dropout)]
        assert drops == [0.3, 0.3]


def test_vgg_starts_with_small_linear_weights_and_zero_biases():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(100, 200))
    kaiming_init(model, linear_std=0.01)
    assert not model[0].bias.data.any() and not model[2].bias.data.any()
    assert np.std(model[2].weight.data) == pytest.approx(0.01, rel=0.05)
