"""The layer table against the papers' numbers, and receptive fields against gradients."""

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import functional as F
from tinycnn import nn
from tinycnn.nn import init

MULTIPLY_ADDS = {
    ("alexnet_2012", 224): 724_406_816,
    ("alexnet", 224): 714_188_480,
    ("vgg16", 224): 15_470_264_320,
    ("vgg19", 224): 19_632_062_464,
    ("resnet18", 224): 1_814_073_344,
    ("resnet34", 224): 3_663_761_408,
    ("resnet50", 224): 4_089_184_256,
    ("resnet20", 32): 40_551_040,
    ("resnet32", 32): 68_862_592,
    ("resnet44", 32): 97_174_144,
    ("plain56", 32): 125_485_696,
    ("resnet110", 32): 252_887_680,
    ("squeezenet1_0", 227): 832_667_936,
    ("squeezenet1_1", 224): 349_151_936,
}


@pytest.fixture
def blank(monkeypatch):
    """Make models without random weights: drawing them takes longer than the table."""
    for name in ("uniform_", "normal_"):
        monkeypatch.setattr(init, name, lambda tensor, *args, **options: init.zeros_(tensor))


def table(name, size=224, **options):
    return tc.summary(tc.models.build(name, **options), (3, size, size))


def rows(name, size=224, kinds=(), ends=(), **options):
    """Return the rows of some kinds, or the last row of each part of the network."""
    found = table(name, size, **options).rows
    if kinds:
        return [row for row in found if row.kind in kinds]
    return [[row for row in found if row.name.split(".")[0] == end][-1] for end in ends]


@pytest.mark.parametrize(("name", "size"), MULTIPLY_ADDS)
def test_multiply_adds_are_the_papers(name, size, blank):
    assert table(name, size).multiply_adds == MULTIPLY_ADDS[name, size]


@pytest.mark.parametrize(
    ("depth", "options", "multiply_adds"),
    [
        (34, {"project": False}, 3_644_493_824),
        (50, {"stride_in_1x1": True}, 3_857_973_248),
        (101, {"stride_in_1x1": True}, 7_570_194_432),
        (152, {"stride_in_1x1": True}, 11_282_415_616),
    ],
)
def test_resnets_as_the_paper_counts_them(depth, options, multiply_adds, blank):
    net = tc.models.resnet.imagenet_resnet(depth, **options)
    assert tc.summary(net, (3, 224, 224)).multiply_adds == multiply_adds


def test_squeezenet_table_1(blank):
    found = table("squeezenet1_0")
    stages: dict[str, int] = {}
    for row in found.rows:
        stage = ".".join(row.name.split(".")[:2])
        stages[stage] = stages.get(stage, 0) + row.parameters
    counts = [n for n in stages.values() if n]
    assert counts == [14_208, 11_920, 12_432, 45_344, 49_440, 104_880, 111_024, 188_992, 197_184, 513_000]
    assert found.parameters == 1_248_424


ALEXNETS = {
    "alexnet_article": (96, 96, 256, 256, 384, 384, 256, 256),
    "alexnet_2012": (96, 96, 256, 256, 384, 384, 256, 256),
    "alexnet": (64, 64, 192, 192, 384, 256, 256, 256),
}


@pytest.mark.parametrize("name", ALEXNETS)
def test_alexnets_shapes_and_receptive_fields(name, blank):
    found = rows(name, kinds=("Conv2d", "MaxPool2d"))
    sizes = (55, 27, 27, 13, 13, 13, 13, 6)
    assert [row.output_shape for row in found] == [(c, n, n) for c, n in zip(ALEXNETS[name], sizes)]
    assert [row.receptive_field for row in found] == [11, 19, 51, 67, 99, 131, 163, 195]


def test_alexnets_multiply_adds_layer_by_layer(blank):
    found = [row.multiply_adds for row in rows("alexnet_2012", kinds=("Conv2d", "Linear"))]
    convolutions = [105_415_200, 223_948_800, 149_520_384, 112_140_288, 74_760_192]
    assert found == [*convolutions, 9216 * 4096, 4096 * 4096, 4096 * 1000]


@pytest.mark.parametrize("name", ["vgg11", "vgg16", "vgg19_bn"])
def test_vgg_halves_the_image_five_times(name, blank):
    found = rows(name, kinds=("MaxPool2d",), width=0.25)
    channels, sizes = (16, 32, 64, 128, 128), (112, 56, 28, 14, 7)
    assert [row.output_shape for row in found] == [(c, n, n) for c, n in zip(channels, sizes)]


def test_vgg16_sees_212_pixels_at_its_last_pool(blank):
    assert rows("vgg16", kinds=("MaxPool2d",), width=0.0625)[-1].receptive_field == 212


@pytest.mark.parametrize(("name", "expansion"), [("resnet34", 1), ("resnet50", 4), ("plain50", 4)])
def test_resnets_stages_at_224(name, expansion, blank):
    ends = ("conv1", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc")
    stages = [(16 * 2**i * expansion, 56 // 2**i, 56 // 2**i) for i in range(4)]
    shapes = [(16, 112, 112), (16, 56, 56), *stages, (128 * expansion,), (1000,)]
    assert [row.output_shape for row in rows(name, ends=ends, width=0.25)] == shapes


@pytest.mark.parametrize("name", ["resnet20", "plain20", "resnet110"])
def test_cifar_resnets_stages(name, blank):
    found = rows(name, 32, ends=("conv1", "layer1", "layer2", "layer3", "avgpool", "fc"))
    shapes = [(16, 32, 32), (16, 32, 32), (32, 16, 16), (64, 8, 8), (64,), (10,)]
    assert [row.output_shape for row in found] == shapes


@pytest.mark.parametrize(("depth", "field"), [(20, 81), (56, 249)])
def test_receptive_field_of_cifar_resnets(depth, field, blank):
    """Through the longest path: the branches of a block meet."""
    assert rows(f"resnet{depth}", 32, kinds=("Conv2d",))[-1].receptive_field == field


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("squeezenet1_0", [109, 54, 54, 27, 27, 13, 13]), ("squeezenet1_1", [111, 55, 55, 27, 27, 13, 13])],
)
def test_squeezenets_sizes(name, sizes, blank):
    """From convolution to pool to pool; the classifier works on the last map."""
    found = [r for r in table(name).rows if r.kind in ("Conv2d", "MaxPool2d")]
    pools = [i for i, r in enumerate(found) if r.kind == "MaxPool2d"]
    around = [0, *(i for pool in pools for i in (pool, pool + 1))]
    assert [found[i].output_shape[1] for i in around] == sizes
    assert found[-1].output_shape == (1000, 13, 13)


class Branches(nn.Module):
    """Two parallel paths of different reach, joined and added to the input, with functions in between."""

    def __init__(self):
        super().__init__()
        self.wide = nn.Conv2d(2, 2, (5, 3), padding=(2, 1))
        self.dilated = nn.Conv2d(2, 2, (1, 3), padding=(0, 3), dilation=(1, 3))
        self.after = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        return F.relu(self.after(tc.concatenate([F.relu(self.wide(x)), self.dilated(x)], dim=1)) + x)


STACKS = {
    "stride": [nn.Conv2d(2, 2, 3, stride=2), nn.Conv2d(2, 2, 3)],
    "not square": [nn.Conv2d(2, 2, (1, 5), stride=(2, 1)), nn.Conv2d(2, 2, (3, 2), stride=(1, 3))],
    "dilation": [nn.Conv2d(2, 2, (3, 2), dilation=(2, 3)), nn.Conv2d(2, 2, 2, dilation=2)],
    "average pool": [nn.Conv2d(2, 2, 3), nn.AvgPool2d((2, 3), stride=(3, 2)), nn.Conv2d(2, 2, 2)],
    "adaptive pool": [nn.AdaptiveAvgPool2d((12, 20)), nn.Conv2d(2, 2, 3)],
    "branches": [Branches(), nn.AvgPool2d(2), Branches()],
    "groups": [nn.Conv2d(2, 4, 3, groups=2), nn.Conv2d(4, 2, 1), nn.Identity(), nn.Conv2d(2, 2, (2, 1))],
    "whole map": [nn.AvgPool2d(4), nn.AdaptiveAvgPool2d(1)],
}


def reach(model, shape):
    """Return height and width of the input patch with a gradient from the middle of the output; all weights are
    positive.
    """
    for p in model.parameters():
        p.data[...] = 1
    x = tc.Tensor(np.ones((1, *shape)), requires_grad=True)
    out = model.to("float64").eval()(x)
    out[0, 0, out.shape[2] // 2, out.shape[3] // 2].backward()
    used = np.argwhere(x.grad[0, 0])
    return tuple(int(n) for n in used.max(0) - used.min(0) + 1)


@pytest.mark.parametrize("name", STACKS)
def test_receptive_fields_are_where_gradients_reach(name):
    model = nn.Sequential(*STACKS[name])
    height, width = reach(model, (2, 36, 60))
    field = tc.summary(model, (2, 36, 60)).rows[-1].receptive_field
    assert field == (height if height == width else (height, width))


@pytest.mark.parametrize("name", ["resnet8", "plain8"])
def test_a_resnets_receptive_field_is_where_gradients_reach(name):
    model = tc.models.build(name, width=0.0625)
    field = tc.summary(model, (3, 32, 32)).rows[-3].receptive_field
    model.avgpool, model.fc = nn.Identity(), nn.Identity()
    assert reach(model, (3, 96, 80)) == (field, field) == (25, 25)


def test_a_layer_after_flattening_sees_the_whole_map():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2 * 3 * 5, 4), nn.ReLU())
    assert [row.receptive_field for row in tc.summary(model, (1, 8, 12)).rows] == [3, 4, 4, (8, 12), (8, 12)]


def test_a_shared_layer_has_two_rows_and_is_counted_once():
    shared = nn.Conv2d(2, 2, 3, padding=1)
    found = tc.summary(nn.Sequential(nn.Dropout(), shared, nn.ReLU(), shared), (2, 5, 7))
    convolutions = [row for row in found.rows if row.kind == "Conv2d"]
    assert [row.parameters for row in convolutions] == [38, 0]
    assert [row.receptive_field for row in convolutions] == [3, 5]
    assert found.parameters == sum(row.parameters for row in found.rows) == 38
    assert found.multiply_adds == 2 * (2 * 5 * 7) * (2 * 3 * 3)
    assert found.memory == 4 * (2 * 5 * 7) * 4


class Scaled(nn.Module):
    """A module with a module inside and a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Conv2d(3, 3, 1, bias=False)
        self.factor = nn.Parameter(np.ones((3, 1, 1), np.float32))

    def forward(self, x):
        return self.inner(x) * self.factor


def test_parameters_of_a_module_with_modules_inside_have_a_row():
    found = tc.summary(nn.Sequential(Scaled()), (3, 4, 6))
    assert [(row.name, row.kind, row.parameters) for row in found.rows] == [
        ("0.inner", "Conv2d", 9),
        ("0", "Scaled", 3),
    ]


@pytest.mark.parametrize("name", ["alexnet", "vgg11_bn", "resnet50", "resnet20", "squeezenet1_0"])
def test_rows_add_up_to_the_model(name, blank):
    options = {"bypass": "complex"} if name == "squeezenet1_0" else {}
    found = table(name, 64, width=0.125, **options)
    assert sum(row.parameters for row in found.rows) == found.parameters
    assert found.memory == sum(4 * int(np.prod(row.output_shape)) for row in found.rows)


def test_a_summary_leaves_the_model_as_it_was():
    model = tc.models.resnet20(width=0.25)
    before = {name: array.copy() for name, array in model.state_dict().items()}
    model.bn1.eval()
    with tc.no_grad():
        found = tc.summary(model, (3, 32, 20))
    assert model.training and not model.bn1.training
    assert all((before[name] == array).all() for name, array in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(p.grad is None for p in model.parameters())
    assert str(found) == repr(found) and "one image of 3x32x20" in str(found)


def test_float64_takes_twice_the_memory():
    model = tc.models.resnet8(width=0.25)
    assert 2 * tc.summary(model, (3, 8, 8)).memory == tc.summary(model.to("float64"), (3, 8, 8)).memory


def test_an_image_that_does_not_fit_leaves_no_hooks():
    model = tc.models.alexnet(width=0.03)
    with pytest.raises(ValueError, match="alexnet: images are 32x32, expected at least 63x63"):
        tc.summary(model, (3, 32, 32))
    assert not any(module._forward_hooks for module in model.modules())
    assert model.training


@pytest.mark.parametrize("shape", [(), (3, 0, 32), (3, -1, 4)])
def test_an_impossible_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"summary: input_shape is \(.*\), expected \(C, H, W\) of at least 1 each"):
        tc.summary(nn.ReLU(), shape)
