"""Modules: names, states, hooks, and messages when a state does not fit."""

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import nn
from tinycnn.errors import WeightsError


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, bias=False)
        self.norm = nn.BatchNorm2d(3)
        self.scale = nn.Parameter(np.ones(1, np.float32))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))

    def forward(self, x):
        return self.head(self.norm(self.conv(x)) * self.scale)


STATE = [
    *("scale", "conv.weight", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"),
    *("norm.num_batches_tracked", "head.1.weight", "head.1.bias"),
]
IMAGES = np.random.default_rng(0).normal(size=(2, 2, 4, 4)).astype(np.float32)


def test_names_are_paths_in_a_stable_order():
    net = Net()
    assert list(net.state_dict()) == STATE
    assert [name for name, _ in net.named_parameters()] == [n for n in STATE if "running" not in n and "num_" not in n]
    assert [name for name, _ in net.named_buffers()] == [n for n in STATE if "running" in n or "num_" in n]
    assert [name for name, _ in net.named_modules()] == ["", "conv", "norm", "head", "head.0", "head.1"]
    assert [name for name, _ in net.named_children()] == ["conv", "norm", "head"]


def test_a_shared_parameter_is_listed_once():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "1.bias"]


def test_load_state_dict_copies():
    first, second = Net(), Net()
    second.load_state_dict(first.state_dict())
    assert all((a == b).all() for a, b in zip(first.state_dict().values(), second.state_dict().values()))
    first.scale.data[0] = 9
    assert second.scale.data[0] == 1


def test_a_state_that_does_not_fit_is_listed_whole_and_changes_nothing():
    net = Net()
    before = {name: array.copy() for name, array in net.state_dict().items()}
    state = {name: array + 1 for name, array in before.items()}
    state["extra"], state["conv.weight"] = np.zeros(1), np.zeros((3, 2, 5, 5))
    del state["scale"]
    with pytest.raises(WeightsError) as caught:
        net.load_state_dict(state)
    assert str(caught.value) == (
        "load_state_dict: the state does not fit Net:\n"
        "  missing: scale\n"
        "  unexpected: extra\n"
        "  mis-shaped: conv.weight has shape (3, 2, 5, 5), expected (3, 2, 3, 3)"
    )
    assert all((before[name] == array).all() for name, array in net.state_dict().items())
    del state["conv.weight"]
    net.load_state_dict(state, strict=False)
    assert net.norm.bias.data.tolist() == [1, 1, 1]


def test_attributes():
    net = Net()
    with pytest.raises(AttributeError, match=r"Net has no attribute 'covn'; did you mean conv\?"):
        net.covn  # noqa: B018
    with pytest.raises(TypeError, match="scale is a parameter of Net: assign a Parameter"):
        net.scale = np.zeros(1)
    net.conv = nn.Identity()
    assert "conv.weight" not in net.state_dict()
    net.note = "text"
    assert net.note == "text"

    class Early(nn.Module):
        def __init__(self):
            self.layer = nn.ReLU()

    with pytest.raises(RuntimeError, match="Early: call super"):
        Early()


def test_repr_is_a_tree():
    assert repr(Net()) == (
        "Net(\n"
        "  (conv): Conv2d(2, 3, kernel_size=3, bias=False)\n"
        "  (norm): BatchNorm2d(3)\n"
        "  (head): Sequential(\n"
        "    (0): Flatten()\n"
        "    (1): Linear(12, 5)\n"
        "  )\n"
        ")"
    )
    assert repr(nn.Conv2d(4, 4, (3, 5), 2, (1, 2), groups=2)) == (
        "Conv2d(4, 4, kernel_size=(3, 5), stride=2, padding=(1, 2), groups=2)"
    )


def test_train_eval_apply_and_zero_grad():
    net, seen = Net(), []
    assert not net.eval().head[1].training and net.train().norm.training
    net.apply(lambda module: seen.append(type(module).__name__))
    assert seen[-1] == "Net" and len(seen) == 6
    net(tc.Tensor(IMAGES)).sum().backward()
    assert net.scale.grad is not None
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_a_conversion_drops_gradients_of_the_old_dtype():
    net = Net()
    net(tc.Tensor(IMAGES)).sum().backward()
    net.to(np.float64)
    assert {parameter.dtype for parameter in net.parameters()} == {np.dtype(np.float64)}
    assert all(parameter.grad is None for parameter in net.parameters())


def test_parameters_are_frozen_and_thawed():
    net = Net()
    for wanted in (False, True):
        assert net.requires_grad_(wanted) is net
        assert {parameter.requires_grad for parameter in net.parameters()} == {wanted}


def test_train_calls_the_childrens_own_train():
    class Frozen(nn.BatchNorm2d):
        def train(self, mode=True):
            return super().train(False)

    net = nn.Sequential(nn.Sequential(Frozen(2), nn.Dropout()), nn.ReLU())
    assert net.train() is net and net.training and net[0].training and net[0][1].training and net[1].training
    assert not net[0][0].training
    assert net.eval() is net and not any(module.training for module in net.modules())
    for mode in ("eval", None, 1):
        with pytest.raises(ValueError, match=r"train: mode is .*, expected True or False"):
            net.train(mode)


def test_keyword_arguments_reach_forward():
    class Scale(nn.Module):
        def forward(self, x, factor=1, *, shift=0):
            return x * factor + shift

    assert Scale()(tc.Tensor([2.0]), factor=3, shift=1).data.tolist() == [7.0]
    with pytest.raises(TypeError, match="unexpected keyword argument 'faktor'"):
        Scale()(tc.Tensor([2.0]), faktor=3)


def test_zero_grad_can_fill():
    layer = nn.Linear(2, 2)
    layer.weight.grad = np.ones((2, 2), np.float32)
    layer.zero_grad(set_to_none=False)
    assert layer.weight.grad.tolist() == [[0, 0], [0, 0]] and layer.bias.grad is None


@pytest.mark.parametrize("target", ["cuda:7", "gpu", None, np.float16, "float"])
def test_to_names_what_it_takes(target):
    with pytest.raises(
        TypeError, match=r"to: .*(neither a device \(cpu, cuda\) nor a dtype|expected float32 or float64)"
    ):
        nn.Linear(1, 1).to("int32" if target == "float" else target)
    assert nn.Linear(1, 1).to("cpu:0").weight.device == "cpu"


def test_to_converts_what_is_float():
    net = Net().to(np.float64)
    assert {p.dtype for p in net.parameters()} == {np.dtype(np.float64)}
    assert net.norm.running_mean.dtype == np.float64 and net.norm.num_batches_tracked.dtype == np.int64
    assert net(tc.Tensor(IMAGES.astype(np.float64))).dtype == np.float64


def test_forward_hooks_see_and_may_replace():
    net, shapes = Net(), []
    handle = net.conv.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape))
    net(tc.Tensor(IMAGES))
    handle.remove()
    net(tc.Tensor(IMAGES))
    assert shapes == [(2, 3, 2, 2)]
    net.head.register_forward_hook(lambda module, inputs, output: output * 0)
    assert not net(tc.Tensor(IMAGES)).data.any()


def test_backward_hooks_see_the_outputs_gradient():
    net, seen = Net(), []
    net.head.register_full_backward_hook(lambda module, grad: seen.append((type(module).__name__, grad.copy())))
    net(tc.Tensor(IMAGES)).sum().backward()
    assert seen[0][0] == "Sequential" and (seen[0][1] == 1).all()


def test_batch_norm_counts_batches_in_training_only():
    net = Net()
    net(tc.Tensor(IMAGES))
    net.eval()(tc.Tensor(IMAGES))
    assert net.norm.num_batches_tracked == 1


@pytest.mark.parametrize(
    ("fill", "std"),
    [
        (lambda p: nn.init.kaiming_normal_(p, nonlinearity="relu"), np.sqrt(2 / 150)),
        (lambda p: nn.init.kaiming_normal_(p, mode="fan_out", nonlinearity="relu"), np.sqrt(2 / 3200)),
        (lambda p: nn.init.kaiming_uniform_(p, a=0), np.sqrt(2 / 150)),
        (lambda p: nn.init.xavier_normal_(p), np.sqrt(2 / 3350)),
        (lambda p: nn.init.xavier_uniform_(p, gain=2), 2 * np.sqrt(2 / 3350)),
        (lambda p: nn.init.normal_(p, std=0.3), 0.3),
    ],
)
def test_initial_weights_have_the_formulas_deviation(fill, std):
    tc.manual_seed(0)
    parameter = nn.Parameter(np.empty((128, 6, 5, 5), np.float32))
    assert fill(parameter) is parameter
    assert parameter.data.std() == pytest.approx(std, rel=0.03)
    assert abs(parameter.data.mean()) < 0.05 * std


def test_losses_as_modules():
    logits = tc.Tensor(np.eye(3))
    assert nn.CrossEntropyLoss()(logits, [0, 1, 2]).item() == pytest.approx(np.log(np.e + 2) - 1)
    assert nn.NLLLoss(reduction="sum")(logits, [0, 1, 2]).item() == -3
    assert nn.MSELoss()(logits, np.zeros((3, 3))).item() == pytest.approx(1 / 3)


def test_a_modules_own_parameters_and_buffers_leave_out_those_of_modules_inside():
    net = nn.Sequential(nn.BatchNorm2d(2), nn.Linear(2, 3))
    net.register_buffer("mean", np.zeros(2))
    assert list(net.parameters(recurse=False)) == []
    assert [name for name, _ in net.named_buffers(recurse=False)] == ["mean"]
    assert [name for name, _ in net[1].named_parameters(recurse=False)] == ["weight", "bias"]
