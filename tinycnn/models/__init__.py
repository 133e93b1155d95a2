"""The four networks and their variants, and LeNet-5.

Every function takes ``num_classes``, ``in_channels``, ``width`` and ``small_input``. For images below 96
pixels build with ``small_input=True``: the nets for 224x224 then start at full resolution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinycnn.errors import unknown_name
from tinycnn.models.alexnets import AlexNet, alexnet, alexnet_2012, alexnet_article
from tinycnn.models.lenet import LeNet, lenet5
from tinycnn.models.resnet import (
    ResNet,
    cifar_resnet,
    imagenet_resnet,
    plain8,
    plain14,
    plain18,
    plain20,
    plain32,
    plain34,
    plain44,
    plain50,
    plain56,
    plain101,
    plain110,
    plain152,
    plain1202,
    resnet8,
    resnet14,
    resnet18,
    resnet20,
    resnet32,
    resnet34,
    resnet44,
    resnet50,
    resnet56,
    resnet101,
    resnet110,
    resnet152,
    resnet1202,
)
from tinycnn.models.squeezenet import SqueezeNet, squeezenet1_0, squeezenet1_1
from tinycnn.models.vgg import VGG, vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn
from tinycnn.nn import Module

_FUNCTIONS: tuple[Callable[..., Module], ...] = (
    *(lenet5, alexnet, alexnet_2012, alexnet_article, squeezenet1_0, squeezenet1_1),
    *(vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn),
    *(resnet18, resnet34, resnet50, resnet101, resnet152),
    *(resnet8, resnet14, resnet20, resnet32, resnet44, resnet56, resnet110, resnet1202),
    *(plain18, plain34, plain50, plain101, plain152),
    *(plain8, plain14, plain20, plain32, plain44, plain56, plain110, plain1202),
)
_MODELS = {function.__name__: function for function in _FUNCTIONS}

__all__ = [
    "AlexNet",
    "LeNet",
    "ResNet",
    "SqueezeNet",
    "VGG",
    "build",
    "cifar_resnet",
    "imagenet_resnet",
    "names",
    *_MODELS,
]


def __dir__() -> list[str]:
    return __all__


def names() -> list[str]:
    """Return the names that :func:`build` knows."""
    return list(_MODELS)


def build(name: str, **options: Any) -> Module:
    """Return a network by name.

    Parameters
    ----------
    name : str
        One of :func:`names`.
    **options
        ``num_classes``, ``in_channels``, ``width``, ``small_input``, and the model's own, such as ``bypass``.

    Raises
    ------
    UnknownNameError
        With the nearest names.

    Examples
    --------
    >>> sum(p.size for p in build("resnet20").parameters())
    269722
    """
    if name not in _MODELS:
        raise unknown_name("model", name, _MODELS)
    return _MODELS[name](**options)
