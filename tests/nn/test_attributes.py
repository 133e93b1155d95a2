"""Attributes of modules: names, copies, pickles, and messages."""

import copy
import multiprocessing
import pickle

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import nn
from tinycnn.hooks import Hook


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5))
        self.head = nn.Linear(3, 2)
        self.head.weight.data[...] = 1
        self.tied = self.head
        self.note = ["kept"]
        self.register_buffer("mean", np.zeros(3, np.float32))


def log(module, inputs, output):
    module.note.append("called")


def double(module, grad):
    return grad * 2


def by_pickle(value):
    return pickle.loads(pickle.dumps(value))


def by_old_pickle(value):
    return pickle.loads(pickle.dumps(value, 2))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, by_pickle, by_old_pickle])
def test_deep_copies_are_equal_independent_and_keep_what_is_shared(duplicate):
    net = Net().eval()
    net.head.weight.grad = np.full((2, 3), 7, np.float32)
    net.body.requires_grad_(False)
    other = duplicate(net)
    assert list(other.state_dict()) == list(net.state_dict())
    assert other.tied is other.head and other.head is not net.head and other.note == ["kept"]
    assert not other.training and not other.body[1].training
    assert (other.head.weight.grad == 7).all() and not other.body[0].weight.requires_grad
    assert type(other.head.weight) is nn.Parameter and [n for n, _ in other.named_parameters()][-1] == "head.bias"
    other.head.weight.data[...] = 0
    other.mean[...] = 1
    other.note.append("more")
    other.head = nn.Linear(3, 5)
    assert (net.head.weight.data == 1).all() and not net.mean.any() and net.note == ["kept"] and net.tied is net.head


def test_a_shallow_copy_shares_parameters_but_not_the_tables():
    net = Net()
    other = copy.copy(net)
    assert other.head is net.head and other.mean is net.mean
    other.head = nn.Linear(3, 9)
    other.register_buffer("more", np.zeros(1))
    del other.body
    assert net.head.weight.shape == (2, 3) and "more" not in net.state_dict() and net.body[0].weight.shape == (3, 2)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, by_pickle])
def test_hooks_are_copied_and_new_ones_do_not_replace_them(duplicate):
    layer = nn.Identity()
    layer.note = []
    handle = layer.register_forward_hook(log)
    layer.register_full_backward_hook(double)
    other = duplicate(layer)
    handle.remove()
    other.register_forward_hook(log)
    x = tc.Tensor([1.0], requires_grad=True)
    (other(x * 1)).sum().backward()
    assert other.note == ["called", "called"] and x.grad.tolist() == [2.0]
    layer(x)
    assert duplicate is copy.copy or layer.note == []


def test_a_new_hook_does_not_take_the_key_of_an_unpickled_one():
    registry = {next(Hook._keys) + 1: log}
    Hook(registry, double)
    assert sorted(hook.__name__ for hook in registry.values()) == ["double", "log"]


def test_a_module_is_an_argument_of_another_process():
    layer = nn.Linear(3, 2)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        state = pool.apply(nn.Module.state_dict, (layer,))
    assert np.array_equal(state["weight"], layer.weight.data)


def test_attributes_before_init_do_not_recurse():
    net = Net.__new__(Net)
    assert not hasattr(net, "body") and not hasattr(net, "__deepcopy__") and "forward" in dir(net)
    with pytest.raises(AttributeError, match=r"Net has no attribute '_modules': call super\(\).__init__\(\) first"):
        net._modules  # noqa: B018
    with pytest.raises(RuntimeError, match="call super"):
        net.layer = nn.ReLU()
    with pytest.raises(AttributeError):
        del net.layer


class Forwarding(nn.Module):
    """A wrapper that has the attributes of the object inside, with one in a slot."""

    __slots__ = ("place",)

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 3)
        self.place = [7]

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.inner, name)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, by_pickle, by_old_pickle])
def test_a_subclass_with_slots_and_getattr_of_its_own_is_copied(duplicate):
    net = Forwarding()
    other = duplicate(net)
    assert other.place == [7] and (other.place is net.place) == (duplicate is copy.copy)
    assert other.in_features == 2 and other.inner.weight.data.tolist() == net.inner.weight.data.tolist()


def test_a_property_that_fails_gives_its_own_message():
    class Model(nn.Module):
        @property
        def total(self):
            return self.head.missing_thing

        @property
        def good(self):
            return self._good

        @good.setter
        def good(self, value):
            self._good = value

    net = Model()
    net.head = nn.Linear(2, 2)
    with pytest.raises(
        AttributeError, match=r"Model.total raised AttributeError: Linear has no attribute 'missing_thing'"
    ):
        net.total  # noqa: B018
    assert not hasattr(net, "total")
    net.good = nn.ReLU()
    assert net.good is net._good and [name for name, _ in net.named_children()] == ["head", "_good"]


@pytest.mark.parametrize("name", ["__name__", "__qualname__", "__mro__", "mro", "__len__", "__array__", "__abs__"])
def test_attributes_of_classes_are_not_attributes_of_modules(name):
    assert not hasattr(nn.Linear(2, 2), name) and getattr(nn.ReLU(), name, 3) == 3


def test_layers_and_parameters_can_be_deleted_and_are_in_dir():
    net = Net()
    assert {"body", "head", "mean", "forward", "note"} <= set(dir(net)) and "0" not in dir(net.body)
    assert {"weight", "bias"} <= set(dir(net.head))
    del net.tied, net.head, net.mean, net.note
    assert list(net.state_dict()) == ["body.0.weight", "body.0.bias"]
    with pytest.raises(AttributeError):
        del net.head
    net.head = nn.Linear(3, 4)
    assert net.head.weight.shape == (4, 3)


def test_add_module():
    net = Net()
    net.add_module("extra", nn.Linear(1, 1))
    net.add_module("extra", nn.Linear(2, 2))
    net.register_module("third", nn.ReLU())
    assert net.extra.weight.shape == (2, 2) and [n for n, _ in net.named_children()][-2:] == ["extra", "third"]
    for name in ("note", "forward", "mean", "training"):
        with pytest.raises(ValueError, match=f"the name '{name}' is taken"):
            net.add_module(name, nn.ReLU())
    for name in ("a.b", "", 3):
        with pytest.raises(ValueError, match="cannot be used, expected text without a dot"):
            net.add_module(name, nn.ReLU())
    with pytest.raises(
        TypeError, match=r"add_module: x is a list of modules .put them into nn.ModuleList., expected a Mod"
    ):
        net.add_module("x", [nn.ReLU()])


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (
            lambda n: setattr(n, "head", np.zeros(2)),
            TypeError,
            "head is a layer of Net: assign a Module, not a ndarray",
        ),
        (lambda n: setattr(n, "head", [nn.ReLU()]), TypeError, "not a list of modules .put them into nn.ModuleList"),
        (lambda n: setattr(n, "forward", nn.ReLU()), ValueError, "'forward' is a method or attribute of the class"),
        (lambda n: setattr(n, "modules", nn.ModuleList()), ValueError, "'modules' is a method or attribute"),
        (lambda n: setattr(n, "self", n), ValueError, "'self' would contain the module that it is assigned to"),
        (lambda n: setattr(n.head, "parent", n), ValueError, "'parent' would contain the module"),
        (lambda n: setattr(n, "mean", "text"), TypeError, "buffer mean is a str of dtype <U4, expected numbers"),
        (lambda n: n.register_buffer("x", [None]), TypeError, "buffer x is a list of dtype object"),
        (lambda n: n.register_parameter("x", np.ones(1)), TypeError, "x is a ndarray, expected a Parameter"),
    ],
)
def test_assignments_that_would_lose_something_are_refused(change, kind, message):
    net = Net()
    with pytest.raises(kind, match=message):
        change(net)
    assert list(net.state_dict()) == list(Net().state_dict())


def test_a_layer_may_be_replaced_by_none_and_a_buffer_by_a_tensor():
    net = Net()
    net.head, net.head.bias, net.tied = nn.Linear(3, 2), None, None
    assert net.tied is None and net.head.bias is None and "tied.weight" not in net.state_dict()
    net.mean = tc.Tensor([1.0, 2.0, 3.0])
    assert type(net.mean) is np.ndarray and net.mean.tolist() == [1, 2, 3]


def test_frozen_parameters():
    assert not nn.Parameter(np.ones(2), requires_grad=False).requires_grad
    net = Net()
    assert net.requires_grad_(False) is net and not any(p.requires_grad for p in net.parameters())
    net.head.requires_grad_()
    assert [n for n, p in net.named_parameters() if p.requires_grad] == ["head.weight", "head.bias"]
