"""Logits equal PyTorch's for the same weights.

The references below know nothing of our modules: they read a state dict by torchvision's names and compute with
``torch.nn.functional``. Every entry must be used, so names are checked too.
"""

import numpy as np
import pytest

import tinycnn as tc

torch = pytest.importorskip("torch")
from torch.nn import functional as F  # noqa: E402

from benchmarks import torch_nets  # noqa: E402

ONE_NET_OF_EACH_FILE = [("alexnet", 224), ("vgg16", 64), ("resnet18", 96), ("resnet20", 32), ("squeezenet1_1", 96)]


class State:
    """A state dict that records which entries were read."""

    def __init__(self, model):
        self.tensors = {name: torch.tensor(array) for name, array in model.state_dict().items()}
        self.used = {name for name in self.tensors if name.endswith("num_batches_tracked")}

    def __call__(self, name):
        self.used.add(name)
        return self.tensors[name]

    def has(self, layer):
        return f"{layer}.weight" in self.tensors

    def conv(self, x, layer, stride=1, padding=0, groups=1):
        bias = self(f"{layer}.bias") if f"{layer}.bias" in self.tensors else None
        return F.conv2d(x, self(f"{layer}.weight"), bias, stride, padding, 1, groups)

    def linear(self, x, layer):
        return F.linear(x, self(f"{layer}.weight"), self(f"{layer}.bias"))

    def norm(self, x, layer):
        mean, var, weight, bias = (
            self(f"{layer}.{part}") for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, weight, bias)


def alexnet(s, x, two_gpus=False, small=False):
    groups, at = (2, (0, 4, 8, 10, 12)) if two_gpus else (1, (0, 3, 6, 8, 10))

    def respond(x):  # the paper's formula, term by term
        padded = F.pad(x * x, (0, 0, 0, 0, 2, 2))
        near = sum(padded[:, i : i + x.shape[1]] for i in range(5))
        return x / (2 + 1e-4 * near) ** 0.75

    first = {"stride": 1, "padding": 2} if small else {"stride": 4, "padding": 2}
    for i, options in enumerate([first, {"padding": 2, "groups": groups}]):
        x = F.relu(s.conv(x, f"features.{at[i]}", **options))
        x = F.max_pool2d(respond(x) if two_gpus else x, 3, 2)
    x = F.relu(s.conv(x, f"features.{at[2]}", padding=1))
    for i in (3, 4):
        x = F.relu(s.conv(x, f"features.{at[i]}", padding=1, groups=groups))
    x = F.adaptive_avg_pool2d(F.max_pool2d(x, 3, 2), 3 if small else 6).flatten(1)
    for i in (1, 4):
        x = F.relu(s.linear(x, f"classifier.{i}"))
    return s.linear(x, "classifier.6")


def lenet(s, x):
    for layer in ("features.0", "features.2"):
        x = F.max_pool2d(s.conv(x, layer), 2)
    x = F.adaptive_avg_pool2d(x, 4).flatten(1)
    return s.linear(F.relu(s.linear(x, "classifier.0")), "classifier.2")


def vgg(s, x, plan, small=False):
    layer, step = 0, 3 if "features.1.weight" in s.tensors else 2
    for count in plan:
        for _ in range(count):
            x = s.conv(x, f"features.{layer}", padding=1)
            x = F.relu(s.norm(x, f"features.{layer + 1}") if step == 3 else x)
            layer += step
        x = F.max_pool2d(x, 2, ceil_mode=small)
        layer += 1
    x = F.adaptive_avg_pool2d(x, 1 if small else 7).flatten(1)
    for i in (0, 3):
        x = F.relu(s.linear(x, f"classifier.{i}"))
    return s.linear(x, "classifier.6")


def resnet(s, x, blocks, small=False, plain=False, stride_in_1x1=False):
    x = F.relu(s.norm(s.conv(x, "conv1", *((1, 1) if small else (2, 3))), "bn1"))
    x = x if small else F.max_pool2d(x, 3, 2, 1)
    for stage, count in enumerate(blocks, 1):
        for block in range(count):
            x = residual(s, x, f"layer{stage}.{block}", 1 + (stage > 1 and block == 0), plain, stride_in_1x1)
    return s.linear(x.mean((2, 3)), "fc")


def residual(s, x, at, stride, plain, stride_in_1x1):
    if s.has(f"{at}.conv3"):
        first, second = (stride, 1) if stride_in_1x1 else (1, stride)
        out = F.relu(s.norm(s.conv(x, f"{at}.conv1", first), f"{at}.bn1"))
        out = F.relu(s.norm(s.conv(out, f"{at}.conv2", second, 1), f"{at}.bn2"))
        out = s.norm(s.conv(out, f"{at}.conv3"), f"{at}.bn3")
    else:
        out = F.relu(s.norm(s.conv(x, f"{at}.conv1", stride, 1), f"{at}.bn1"))
        out = s.norm(s.conv(out, f"{at}.conv2", 1, 1), f"{at}.bn2")
    if plain:
        return F.relu(out)
    if s.has(f"{at}.downsample.0"):
        x = s.norm(s.conv(x, f"{at}.downsample.0", stride), f"{at}.downsample.1")
    elif x.shape != out.shape:
        more = out.shape[1] - x.shape[1]
        zeros = torch.zeros(len(x), more, *out.shape[2:])
        x = torch.cat([zeros[:, : more // 2], x[:, :, ::2, ::2], zeros[:, more // 2 :]], 1)
    return F.relu(out + x)


def squeezenet(s, x, version, bypass="none", small=False):
    stride, pools = (2, (6, 11)) if version == "1_0" else (2, (5, 8))
    x = F.relu(s.conv(x, "features.0", *((1, 1) if small else (stride, 0))))
    x = F.max_pool2d(x, 3, 2, ceil_mode=True)
    for layer in range(3, 13):
        at = f"features.{layer}"
        if not s.has(f"{at}.squeeze"):
            assert layer in pools
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
            continue
        squeezed = F.relu(s.conv(x, f"{at}.squeeze"))
        left, right = s.conv(squeezed, f"{at}.expand1x1"), s.conv(squeezed, f"{at}.expand3x3", padding=1)
        out = torch.cat([F.relu(left), F.relu(right)], 1)
        if bypass == "complex" and s.has(f"{at}.bypass"):
            x = out + s.conv(x, f"{at}.bypass")
        else:
            x = out + x if bypass != "none" and x.shape == out.shape else out
    return F.relu(s.conv(x, "classifier.1")).mean((2, 3))


CASES = [
    ("lenet5", 27, lenet, {}, {}),
    ("alexnet_2012", 75, alexnet, {"two_gpus": True}, {}),
    ("alexnet_2012", 28, alexnet, {"two_gpus": True, "small": True}, {"small_input": True}),
    ("alexnet_article", 67, alexnet, {}, {}),
    ("vgg11", 45, vgg, {"plan": (1, 1, 2, 2, 2)}, {}),
    ("vgg13_bn", 28, vgg, {"plan": (2, 2, 2, 2, 2), "small": True}, {"small_input": True}),
    ("vgg16_bn", 37, vgg, {"plan": (2, 2, 3, 3, 3)}, {}),
    ("vgg19", 35, vgg, {"plan": (2, 2, 4, 4, 4)}, {}),
    ("resnet34", 45, resnet, {"blocks": (3, 4, 6, 3)}, {}),
    ("resnet50", 61, resnet, {"blocks": (3, 4, 6, 3)}, {}),
    ("resnet50", 61, resnet, {"blocks": (3, 4, 6, 3), "stride_in_1x1": True}, {"stride_in_1x1": True}),
    ("resnet101", 33, resnet, {"blocks": (3, 4, 23, 3), "small": True}, {"small_input": True}),
    ("resnet152", 33, resnet, {"blocks": (3, 8, 36, 3)}, {}),
    ("plain18", 45, resnet, {"blocks": (2, 2, 2, 2), "plain": True}, {}),
    ("plain50", 45, resnet, {"blocks": (3, 4, 6, 3), "plain": True}, {}),
    ("resnet8", 27, resnet, {"blocks": (1, 1, 1), "small": True}, {}),
    ("resnet56", 21, resnet, {"blocks": (9, 9, 9), "small": True}, {}),
    ("plain20", 27, resnet, {"blocks": (3, 3, 3), "small": True, "plain": True}, {}),
    ("squeezenet1_0", 61, squeezenet, {"version": "1_0"}, {}),
    ("squeezenet1_0", 45, squeezenet, {"version": "1_0", "bypass": "complex"}, {"bypass": "complex"}),
    ("squeezenet1_1", 45, squeezenet, {"version": "1_1", "bypass": "simple"}, {"bypass": "simple"}),
    ("squeezenet1_1", 28, squeezenet, {"version": "1_1", "small": True}, {"small_input": True}),
]


def randomise(model):
    """He-scaled weights, biases, and running statistics away from 0 and 1; drawn as float32 for speed."""
    rng = np.random.default_rng(3)
    for name, array in model.state_dict().items():
        if array.dtype == np.float32:
            rng.random(dtype=np.float32, out=array)
            if array.ndim > 1:
                array -= 0.5
                array *= np.float32(np.sqrt(24 / array[0].size))
            elif name.endswith((".weight", "running_var")):
                array += 0.5
            else:
                array *= 0.1
    return model.eval()


def relative_difference(name, mine, reference):
    difference = np.abs(mine - reference).max() / np.abs(reference).max()
    print(f"{name}: largest difference {difference:.1e} of the largest logit")
    return difference


@pytest.mark.parametrize(("name", "size", "reference", "known", "options"), CASES)
def test_logits_equal_a_reference_in_pytorch(name, size, reference, known, options):
    model = randomise(tc.models.build(name, num_classes=11, in_channels=2, width=0.25, **options))
    images = np.random.default_rng(4).normal(size=(2, 2, size, size + 7)).astype(np.float32)
    state = State(model)
    with tc.no_grad(), torch.no_grad():
        mine, theirs = model(tc.Tensor(images)).data, reference(state, torch.tensor(images), **known).numpy()
    assert state.used == set(state.tensors)
    assert mine.shape == (2, 11) and np.abs(theirs[0] - theirs[1]).max() > 1e-3 * np.abs(theirs).max()
    assert relative_difference(name, mine, theirs) < 1e-4


@pytest.mark.parametrize(("name", "size"), ONE_NET_OF_EACH_FILE)
def test_logits_equal_pytorchs_at_full_width(name, size, monkeypatch):
    """PyTorch's twin loads our state dict as it is."""
    for initialiser in ("uniform_", "normal_"):
        monkeypatch.setattr(tc.nn.init, initialiser, lambda tensor, *args, **options: tensor)
    ours, theirs = randomise(tc.models.build(name)), getattr(torch_nets, name)().eval()
    theirs.load_state_dict({key: torch.tensor(array) for key, array in ours.state_dict().items()})
    images = np.random.default_rng(4).normal(size=(2, 3, size, size)).astype(np.float32)
    with tc.no_grad(), torch.no_grad():
        mine, reference = ours(tc.Tensor(images)).data, theirs.forward(torch.tensor(images)).numpy()
    assert relative_difference(name, mine, reference) < 1e-4
