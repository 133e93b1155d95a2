"""Containers: they are lists of modules whose names follow PyTorch's."""

from collections import OrderedDict

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import nn


def kinds(modules):
    return [type(module).__name__ for module in modules]


def names(module):
    return [name for name, _ in module.named_children()]


@pytest.fixture
def net():
    return nn.Sequential(nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.Linear(2, 3))


def test_indices_and_slices(net):
    assert kinds([net[0], net[-1], net[np.int64(1)]]) == ["ReLU", "Linear", "Tanh"]
    assert kinds(net[1:]) == ["Tanh", "Sigmoid", "Linear"] and names(net[1:]) == ["1", "2", "3"]
    assert kinds(net[::-2]) == ["Linear", "Tanh"] and type(net[:2]) is nn.Sequential and len(net[9:]) == 0
    layers = nn.ModuleList(net)
    assert type(layers[1:]) is nn.ModuleList and names(layers[1:]) == ["0", "1", "2"]
    assert net[1] in net and nn.Tanh() not in net and net[3] is layers[-1]


def test_the_last_layer_is_replaced(net):
    before = list(net)
    net[-1] = nn.Linear(2, 7)
    net[0] = nn.Identity()
    assert kinds(net) == ["Identity", "Tanh", "Sigmoid", "Linear"] and net[1] is before[1]
    assert [p.shape for p in net.parameters()] == [(7, 2), (7,)]
    assert list(net.state_dict()) == ["3.weight", "3.bias"]


def test_layers_are_deleted_inserted_and_taken_out(net):
    del net[1]
    assert kinds(net) == ["ReLU", "Sigmoid", "Linear"] and names(net) == ["0", "1", "2"]
    net.insert(1, nn.Identity())
    net.insert(-1, nn.Tanh())
    net.insert(99, nn.Flatten())
    assert kinds(net) == ["ReLU", "Identity", "Sigmoid", "Tanh", "Linear", "Flatten"]
    assert names(net) == [str(i) for i in range(6)] and list(net.state_dict()) == ["4.weight", "4.bias"]
    last = net[-1]
    assert net.pop() is last and kinds([net.pop(0)]) == ["ReLU"] and len(net) == 4
    del net[1:]
    assert kinds(net) == ["Identity"] and names(net) == ["0"]
    assert net.append(nn.ReLU()) is net and net.extend([nn.Tanh()]) is net and names(net) == ["0", "1", "2"]


def test_names_come_from_a_dict():
    net = nn.Sequential(OrderedDict(first=nn.Linear(2, 2), act=nn.ReLU()))
    assert net.first is net[0] and list(net.state_dict()) == ["first.weight", "first.bias"]
    assert net(tc.Tensor([[1.0, 2.0]])).shape == (1, 2)
    net[1] = nn.Tanh()
    net.append(nn.Linear(2, 1))
    assert names(net) == ["first", "act", "2"] and kinds(net) == ["Linear", "Tanh", "Linear"]
    del net[0]
    assert names(net) == ["act", "1"] and names(net[:1]) == ["act"]
    net.add_module("last", nn.ReLU())
    assert len(net) == 3


def test_a_part_grows_without_replacing_anything(net):
    part = net[2:]
    part.append(nn.ReLU())
    part.append(nn.Tanh())
    assert kinds(part) == ["Sigmoid", "Linear", "ReLU", "Tanh"]


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda n: n[4], IndexError, "Sequential: the index is 4, there are 4 modules"),
        (lambda n: n.__setitem__(-5, nn.ReLU()), IndexError, "the index is -5, there are 4 modules"),
        (lambda n: n["0"], TypeError, "Sequential: the index is '0', expected an integer"),
        (lambda n: n[np.array("2020", "M8[Y]")], TypeError, "Sequential: the index is array.*, expected an integer"),
        (lambda n: n.__setitem__(0, None), TypeError, "entry 0 is None, expected a Module"),
        (lambda n: n.append(np.tanh), TypeError, "expected a Module"),
        (lambda n: n.insert(0, "x"), TypeError, "entry 4 is 'x', expected a Module"),
        (lambda n: n.__delitem__(7), IndexError, "the index is 7"),
        (lambda n: nn.Sequential([nn.ReLU()]), TypeError, r"expected a Module; unpack a list of modules with \*"),
        (lambda n: nn.Sequential({"a.b": nn.ReLU()}), ValueError, "'a.b' cannot be used"),
        (lambda n: nn.Sequential({"append": nn.ReLU()}), ValueError, "the name 'append' is taken"),
        (lambda n: nn.Sequential({"a": 3}), TypeError, "entry a is 3, expected a Module"),
        (lambda n: nn.ModuleList([nn.ReLU(), 3]), TypeError, "ModuleList: entry 1 is 3, expected a Module"),
    ],
)
def test_what_is_no_module_or_place_is_named(net, change, kind, message):
    with pytest.raises(kind, match=message):
        change(net)
    assert kinds(net) == ["ReLU", "Tanh", "Sigmoid", "Linear"]


def test_module_lists_find_their_parameters():
    layers = nn.ModuleList([nn.Linear(2, 2)])
    layers.append(nn.Linear(2, 3))
    assert len(layers) == 2 and len(list(layers.parameters())) == 4
