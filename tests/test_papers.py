"""Numbers of the papers that the lessons speak of, counted from the nets or by arithmetic."""

import math

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import nn
from tinycnn.nn import init


@pytest.fixture
def blank(monkeypatch):
    """Make models without random weights: only their structure is needed."""
    for name in ("uniform_", "normal_"):
        monkeypatch.setattr(init, name, lambda tensor, *args, **options: init.zeros_(tensor))


def count(module):
    return sum(parameter.size for parameter in module.parameters())


def test_alexnet_2012_layer_by_layer(blank):
    layers = [m for m in tc.models.build("alexnet_2012").modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    parameters = [count(layer) for layer in layers]
    assert parameters == [34_944, 307_456, 885_120, 663_936, 442_624, 37_752_832, 16_781_312, 4_097_000]
    assert sum(parameters) == 60_965_224
    assert round(100 * sum(parameters[5:]) / sum(parameters), 1) == 96.2
    weights = [layer.weight.size for layer in layers]
    assert sum(parameters) + sum(weights[i] for i in (1, 3, 4)) == 62_378_344  # no groups: these read all maps


def test_neurons_of_alexnet(blank):
    """Figure 2 lists 253,440 for the first layer, which has 55 x 55 x 96."""
    rows = [row for row in tc.summary(tc.models.build("alexnet_2012")).rows if row.kind in ("Conv2d", "Linear")]
    neurons = [math.prod(row.output_shape) for row in rows]
    assert neurons == [55 * 55 * 96, 186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000]
    listed = [253_440, *neurons[1:]]
    assert [sum(listed), sum(neurons) + (54**2 - 55**2) * 96, sum(neurons)] == [622_312, 648_808, 659_272]


def test_vgg_without_its_fully_connected_layers(blank):
    net = tc.models.build("vgg16")
    convolutions = sum(count(layer) for layer in net.modules() if isinstance(layer, nn.Conv2d))
    assert round(100 * (1 - convolutions / count(net)), 1) == 89.4
    assert convolutions + 512 * 1000 + 1000 == 15_227_688


@pytest.mark.parametrize(
    ("kernel", "layers", "big", "small"), [(5, 2, 102_400, 73_728), (7, 3, 200_704, 110_592), (11, 5, 495_616, 184_320)]
)
def test_stacks_of_3x3_on_64_channels(kernel, layers, big, small, blank):
    def stack(size, number):
        return nn.Sequential(*(nn.Conv2d(64, 64, size, padding=size // 2, bias=False) for _ in range(number)))

    one, several = (tc.summary(stack(*shape), (64, 16, 16)) for shape in ((kernel, 1), (3, layers)))
    assert [one.parameters, several.parameters] == [big, small]
    assert [row.receptive_field for row in several.rows] == [3, 5, 7, 9, 11][:layers]
    assert one.rows[-1].receptive_field == several.rows[-1].receptive_field == kernel


def test_fire_modules_beside_3x3(blank):
    """Fire 2 and 9 of SqueezeNet against one 3x3 convolution between as many channels."""
    for inputs, squeeze, outputs, fire, plain, times in (
        (96, 16, 128, 11_920, 110_720, 9.3),
        (512, 64, 512, 197_184, 2_359_808, 12.0),
    ):
        assert count(tc.models.squeezenet.Fire(inputs, squeeze, outputs // 2)) == fire
        assert count(nn.Conv2d(inputs, outputs, 3)) == plain
        assert round(plain / fire, 1) == times


def test_sizes_of_squeezenet_and_alexnet(blank):
    nets = [tc.models.build(name) for name in ("alexnet_2012", "squeezenet1_0")]
    alexnet, squeezenet = (sum(array.nbytes for array in net.state_dict().values()) for net in nets)
    sizes = [alexnet / 1e6, alexnet / 2**20, squeezenet / 1e6, squeezenet / 2**20]
    assert [round(size, 2) for size in sizes] == [243.86, 232.56, 4.99, 4.76]
    assert round(alexnet / squeezenet, 2) == 48.83
    pruned = [14_208, 5746, 6258, 20_646, 24_742, 44_700, 46_236, 77_581, 77_581, 103_400]  # table 1, after pruning
    layers = [layer for layer in nets[1].features if isinstance(layer, (nn.Conv2d, tc.models.squeezenet.Fire))]
    unpruned = [count(layer) for layer in (*layers, nets[1].classifier)]
    assert sum(pruned) == 421_098 and pruned[0] == unpruned[0]
    assert all(few < many for few, many in zip(pruned[1:], unpruned[1:], strict=True))


def test_lenet_300_100():
    net = nn.Sequential(nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))
    assert count(net) == 266_610


def test_powers_of_one_half():
    """Kernels keep subnormal numbers: 0.5 to the n is 0 from n = 150 on, as in float32 on paper."""
    power, ends = tc.Tensor(np.ones(64, np.float32)), {}
    for n in range(1, 151):
        power = power * 0.5
        if power.data[0] < np.finfo(np.float32).tiny:
            ends.setdefault("subnormal", n)
        if not power.data.any():
            ends.setdefault("zero", n)
    assert ends == {"subnormal": 127, "zero": 150}


def test_paths_through_54_blocks(blank):
    """Binomial in the number of ResNet-110's blocks: how many of them a path goes through."""
    blocks = sum(isinstance(module, tc.models.resnet.Block) for module in tc.models.build("resnet110").modules())
    chances = np.array([math.comb(blocks, k) for k in range(blocks + 1)]) / 2**blocks
    mean = chances @ np.arange(blocks + 1)
    deviation = np.sqrt(chances @ (np.arange(blocks + 1) - mean) ** 2)
    assert (blocks, round(mean, 6), round(deviation, 2)) == (54, 27, 3.67)
    assert round(100 * chances[5:18].sum(), 2) == 0.45
