"""The four networks: exact parameter counts, shapes, names, small inputs, and PyTorch's numbers from PyTorch's weights."""

import numpy as np
import pytest

import tinycnn as tc
from tinycnn.errors import UnknownNameError

PARAMETERS = {
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


def count(model):
    return sum(p.size for p in model.parameters())


@pytest.mark.parametrize("name", PARAMETERS)
def test_exact_parameter_counts(name):
    assert count(tc.models.build(name)) == PARAMETERS[name]


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_a_plain_cifar_twin_has_the_same_parameters(depth):
    residual, plain = (tc.models.build(f"{family}{depth}", width=0.25) for family in ("resnet", "plain"))
    assert list(residual.state_dict()) == list(plain.state_dict())
    x = tc.Tensor(np.ones((1, 3, 16, 16)))
    plain.load_state_dict(residual.state_dict())
    assert not np.allclose(residual.to("float64").eval()(x).data, plain.to("float64").eval()(x).data)


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_a_plain_twin_lacks_just_the_projections(depth):
    residual, plain = (tc.models.build(f"{family}{depth}", width=0.125) for family in ("resnet", "plain"))
    missing = set(residual.state_dict()) - set(plain.state_dict())
    assert missing and all(".downsample." in name for name in missing)


def test_bypasses_of_squeezenet():
    counts = {kind: count(tc.models.squeezenet1_0(bypass=kind)) for kind in ("none", "simple", "complex")}
    assert counts["simple"] == counts["none"]
    around = [(96, 128), (128, 256), (256, 384), (384, 512)]
    assert counts["complex"] - counts["none"] == sum(i * o + o for i, o in around)
    with pytest.raises(ValueError, match="bypass is 'double', expected one of none, simple, complex"):
        tc.models.squeezenet1_0(bypass="double")


SMALL = [
    *(("alexnet", 32), ("alexnet_2012", 32), ("alexnet_article", 28), ("vgg11", 32), ("vgg16_bn", 32)),
    *(("resnet18", 28), ("resnet50", 28), ("resnet8", 28), ("plain14", 20), ("squeezenet1_0", 28), ("squeezenet1_1", 32)),
]


@pytest.mark.parametrize(("name", "size"), SMALL)
def test_small_images_train(name, size):
    tc.manual_seed(0)
    model = tc.models.build(name, num_classes=4, in_channels=1, width=0.0625, small_input=True)
    images = tc.Tensor(np.random.default_rng(0).normal(size=(2, 1, size, size)).astype(np.float32))
    tc.functional.cross_entropy(model(images), [0, 3]).backward()
    assert all(p.grad is not None and np.isfinite(p.grad).all() for p in model.parameters())


def test_an_image_too_small_names_the_window():
    with pytest.raises(ValueError, match="max_pool2d: a window of 3 does not fit into height 1"):
        tc.models.alexnet(width=0.0625)(tc.Tensor(np.zeros((1, 3, 32, 32), np.float32)))


def test_width_and_depth_out_of_range():
    with pytest.raises(ValueError, match="width is 0, expected a number above 0"):
        tc.models.vgg11(width=0)
    with pytest.raises(ValueError, match=r"depth is 21, expected 6n \+ 2"):
        tc.models.cifar_resnet(21)


def test_an_unknown_model_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown model 'resnet19'; did you mean resnet1"):
        tc.models.build("resnet19")


def test_resnet_1202_takes_a_step():
    tc.manual_seed(0)
    model = tc.models.resnet1202(width=0.125)
    x = tc.Tensor(np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32))
    tc.functional.cross_entropy(model(x), [1, 2]).backward()
    assert np.isfinite(model.conv1.weight.grad).all() and model.conv1.weight.grad.any()


@pytest.mark.parametrize(
    ("name", "size"), [("alexnet", 224), ("vgg16", 64), ("resnet18", 96), ("squeezenet1_1", 96), ("resnet20", 32)]
)
def test_logits_equal_pytorchs_for_the_same_weights(name, size):
    """The names are torchvision's: PyTorch's twin loads our state dict as it is."""
    torch = pytest.importorskip("torch")
    from benchmarks import torch_nets

    tc.manual_seed(3)
    ours, theirs = tc.models.build(name).eval(), getattr(torch_nets, name)().eval()
    theirs.load_state_dict({key: torch.tensor(array) for key, array in ours.state_dict().items()})
    images = np.random.default_rng(4).normal(size=(2, 3, size, size)).astype(np.float32)
    with tc.no_grad(), torch.no_grad():
        mine, reference = ours(tc.Tensor(images)).data, theirs.forward(torch.tensor(images)).numpy()
    difference = np.abs(mine - reference).max() / np.abs(reference).max()
    print(f"{name}: largest difference {difference:.1e} of the largest logit")
    assert difference < 1e-4
