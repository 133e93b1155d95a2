"""Nonsense for an option of a function, layer or optimizer is a TypeError or ValueError that names it."""

import inspect

import numpy as np
import pytest

import tinycnn as tc
from tests.activations import ACTIVATIONS
from tinycnn import functional as F
from tinycnn import graph, nn, optim, plotting
from tinycnn.compression import container
from tinycnn.data import ArrayDataset, DataLoader
from tinycnn.kernels import for_device
from tinycnn.nn import init
from tinycnn.ops.reduction import MaxAlong, Var
from tinycnn.ops.shape import Stack
from tinycnn.tensor import Tensor
from tinycnn.training import Trainer, evaluate

NONSENSE = {
    "text": "text",
    "bytes": b"x",
    "list": [1.0, None],
    "dict": {},
    "object": object(),
    "complex": 1j,
    "array": np.ones(3),
    "empty array": np.zeros(0),
    "tensor": Tensor([1.0, 2.0]),
    "date": np.datetime64("2020"),
    "huge": 10**400,
}
POSSIBLE = {
    "huge": ("ceil_mode", "count_include_pad", "training", "affine", "track_running_stats", "bias"),
    "array": ("weight", "bias"),
    "tensor": ("weight", "bias"),
}
kernels = for_device("cpu")
IMAGES, SCORES, LABELS = Tensor(np.ones((2, 3, 5, 5))), Tensor(np.ones((2, 3))), np.array([0, 1])
LOADER = DataLoader(ArrayDataset(np.zeros((4, 1, 2, 2)), np.array([0, 1, 0, 1]), ["a", "b"]))
FUNCTIONS = {
    F.avg_pool2d: (IMAGES, 2),
    F.batch_norm: (IMAGES, np.zeros(3), np.ones(3)),
    F.conv2d: (IMAGES, Tensor(np.ones((2, 3, 1, 1)))),
    F.cross_entropy: (SCORES, LABELS),
    F.dropout: (IMAGES,),
    **{getattr(F, name): (IMAGES,) for name, row in ACTIVATIONS.items() if row.options},
    F.local_response_norm: (IMAGES, 3),
    F.max_pool2d: (IMAGES, 2),
    F.mse_loss: (SCORES, SCORES),
    F.nll_loss: (SCORES, LABELS),
    F.pad: (IMAGES, (1, 1)),
    F.softmax: (IMAGES,),
    nn.BatchNorm2d: (3,),
    nn.Conv2d: (3, 2, 1),
    nn.Dropout: (),
    nn.Linear: (2, 3),
}


OPTIONS = [
    pytest.param(function, given, name, nonsense, id=f"{function.__name__}-{name}-{nonsense}")
    for function, given in FUNCTIONS.items()
    for name in list(inspect.signature(function).parameters)[len(given) :]
    for nonsense in NONSENSE
    if name not in POSSIBLE.get(nonsense, ())
]


@pytest.mark.parametrize(("function", "given", "name", "nonsense"), OPTIONS)
def test_an_option_is_refused_by_its_name(function, given, name, nonsense):
    with pytest.raises((TypeError, ValueError), match=rf"^{function.__name__}: .*\b{name}\b"):
        layer = function(*given, **{name: NONSENSE[nonsense]})
        if isinstance(layer, nn.Module):
            layer(IMAGES)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.linear(SCORES, 0.5), r"linear: weight has shape \(\), expected \(out, in\)"),
        (lambda: F.global_avg_pool2d(SCORES), r"global_avg_pool2d: input has shape \(2, 3\)"),
        (lambda: F.mse_loss(SCORES, "text"), "mse_loss: target is a str, expected numbers"),
        (lambda: F.pad(IMAGES, 3), "pad: pad is 3, expected pairs of numbers"),
        (lambda: F.pad(IMAGES, "ab"), "pad: pad is 'ab', expected pairs of numbers"),
        (lambda: IMAGES.flatten("a"), "flatten: dim is 'a', expected an integer"),
        (
            lambda: IMAGES.accumulate_grad(np.ones(3)),
            r"accumulate_grad: a ndarray of shape \(3,\) came, expected an array",
        ),
        (
            lambda: SCORES.accumulate_grad(SCORES),
            r"accumulate_grad: a Tensor of shape \(2, 3\) came, expected an array",
        ),
        (lambda: SCORES > 1j, "greater: .* complex numbers have no order"),
        (lambda: tc.profile([nn.ReLU()]), "profile: model is .*, expected a Module or None"),
        (lambda: tc.profile(nn.ReLU), "profile: model is .*, expected a Module or None"),
        (lambda: tc.watch(nn.ReLU()).table(kinds=nn.ReLU), "watch: kinds is .*, expected a tuple of Module classes"),
        (lambda: graph.dot(None), "graph: tensor is a NoneType, expected a Tensor"),
        (lambda: graph.draw(SCORES, names=["a"]), "graph: names is a list, expected a dict"),
        (lambda: plotting.learning_curves(None), "learning_curves: history is a NoneType, expected a list of dicts"),
        (lambda: plotting.learning_curves(["a"]), "learning_curves: an entry of history is a str, expected a dict"),
        (
            lambda: plotting.confusion_matrix(np.eye(3), "ab"),
            r"confusion_matrix: confusion has shape \(3, 3\), expected",
        ),
        (
            lambda: plotting.confusion_matrix(np.eye(2), None),
            "confusion_matrix: classes is a NoneType, expected a list",
        ),
        (lambda: plotting.filter_grid(np.eye(2)), r"filter_grid: weight has shape \(2, 2\), expected 4 dimensions"),
        (
            lambda: plotting.prediction_grid(IMAGES.data, LABELS, np.ones((2, 3), np.float32), "ab"),
            r"prediction_grid: 2 images, 2 labels and probabilities of shape \(2, 3\) came, expected .*\(2, 2\)",
        ),
        (lambda: Trainer(nn.ReLU(), None, None, 1), "Trainer: loader is a NoneType, expected a DataLoader"),
        (lambda: Trainer(None, None, None, 1), "Trainer: model is a NoneType, expected a Module"),
        (lambda: evaluate(nn.ReLU(), LOADER, communicator=None), "evaluate: communicator is a NoneType, expected"),
        (lambda: container.load(__file__, limit=None), "container: limit is None, expected an integer"),
        (lambda: tc.concatenate(5), "concatenate: tensors is a int, expected a list or tuple of tensors"),
        (lambda: tc.concatenate([SCORES], dim=None), "concatenate: dim is None, expected an integer"),
        (lambda: tc.stack([SCORES], dim=2**70), r"stack: dim is \d+, expected -3 to 2 for shape \(2, 3\)"),
        (lambda: tc.broadcast_to(SCORES, 5), "broadcast_to: shape is 5, expected a tuple of sizes"),
        (lambda: tc.watch(nn.ReLU(), kinds=nn.ReLU), "watch: kinds is .*ReLU.*, expected a tuple of Module classes"),
        (lambda: init.constant_(IMAGES, 10**400), "init: value is too large for a float"),
        (lambda: init.kaiming_normal_(IMAGES, mode=LABELS), r"init: mode is array.*, expected 'fan_in' or 'fan_out'"),
        (
            lambda: MaxAlong.apply(SCORES, indices=0, dim=1, keepdim=True),
            "maxalong: .* indices is a int, expected an array",
        ),
        (lambda: Var.apply(None, dim=0, correction=0, keepdim=False), "var: inputs are NoneType"),
        (lambda: Stack.apply(SCORES, SCORES, dim=2**31), "stack: inputs are Tensor, Tensor: Python int too large"),
        (lambda: IMAGES.reshape(2.5, 60), "reshape: 2.5, 60 came, expected integers"),
        (lambda: IMAGES.permute("mean"), "permute: 'mean' came, expected integers"),
        (lambda: IMAGES.broadcast_to("a"), "broadcast_to: 'a' came, expected integers"),
        (lambda: nn.ModuleList(-1), "ModuleList: -1 came, expected an iterable of modules"),
        (lambda: nn.Sequential(nn.ReLU()).insert(0.5, nn.ReLU()), "Sequential: the index is 0.5, expected an integer"),
        (lambda: nn.ReLU().apply(LABELS), "apply: change is a ndarray, expected a function of a module"),
        (lambda: tc.gradcheck(F.relu, 1), "gradcheck: inputs is a int, expected a list of tensors"),
        (lambda: tc.models.cifar_resnet((0, 0)), r"cifar_resnet: depth is \(0, 0\), expected an integer"),
        (lambda: tc.models.lenet5(width="wide"), "width is 'wide', expected a number above 0"),
        (lambda: tc.models.vgg11(width=1e9), "width is 1000000000.0, expected a number above 0 and at most 65536"),
        (lambda: optim.Optimizer([nn.Parameter(np.ones(2))], 1), "Optimizer: defaults is a int, expected a dict"),
        (lambda: kernels.local_response_norm(np.ones((1, 2, 3)), 3, None, 1, 1), "local_response_norm: alpha is None"),
        (lambda: kernels.dropout(np.ones(3), 0.5, 2, 0.5), "dropout: stream is 0.5, expected an integer"),
        (lambda: container.decode("text"), "container: data is a str, expected bytes"),
    ],
)
def test_other_functions(call, message):
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        call()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda o: optim.SGD([nn.Parameter(np.ones(2))], nesterov=LABELS),
            "SGD: nesterov is .*, expected True or False",
        ),
        (lambda o: optim.StepLR(o, 2, 10**400), "StepLR: gamma is 1000"),
        (lambda o: optim.CosineAnnealingLR(o, 10**400), "CosineAnnealingLR: T_max is 1000"),
        (lambda o: optim.ReduceLROnPlateau(o, LABELS), "ReduceLROnPlateau: mode is .*, expected 'min' or 'max'"),
        (lambda o: optim.ReduceLROnPlateau(o, threshold_mode=LABELS), "ReduceLROnPlateau: threshold_mode is"),
        (lambda o: optim.clip_grad_value_([], 10**400), "clip_grad_value_: clip_value is 1000"),
        (lambda o: optim.clip_grad_norm_([], 1.0, error_if_nonfinite=LABELS), "clip_grad_norm_: error_if_nonfinite is"),
    ],
)
@pytest.mark.filterwarnings("ignore:clip_grad")
def test_optimizers_and_schedules(make, message):
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        make(optim.SGD([nn.Parameter(np.ones(2))], lr=0.1))


@pytest.mark.parametrize("option", [{"shuffle": LABELS}, {"drop_last": "no"}, {"shard": ()}, {"shard": "text"}])
def test_loaders(option):
    data = ArrayDataset(np.zeros((4, 1, 2, 2)), np.array([0, 1, 0, 1]), ["a", "b"])
    with pytest.raises((TypeError, ValueError), match=f"^DataLoader: {next(iter(option))} is .*, expected"):
        DataLoader(data, **option)
    with pytest.raises(ValueError, match=r"^DataLoader: number is 2, expected 0 to 1"):
        DataLoader(data, 2).rows(2)
