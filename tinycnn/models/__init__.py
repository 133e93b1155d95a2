"""The four networks and their variants. Every function takes ``num_classes``, ``in_channels``, ``width``, ``small_input``."""

from __future__ import annotations

from typing import Any

from tinycnn.errors import unknown_name
from tinycnn.models import resnet
from tinycnn.models.alexnet import AlexNet, alexnet, alexnet_2012, alexnet_article
from tinycnn.models.resnet import ResNet, cifar_resnet, imagenet_resnet
from tinycnn.models.squeezenet import SqueezeNet, squeezenet1_0, squeezenet1_1
from tinycnn.models.vgg import VGG, vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn
from tinycnn.nn import Module

_FUNCTIONS = (
    *(alexnet, alexnet_2012, alexnet_article, squeezenet1_0, squeezenet1_1),
    *(vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn),
    *resnet.NETS.values(),
)
_MODELS = {function.__name__: function for function in _FUNCTIONS}
globals().update(resnet.NETS)

__all__ = ["AlexNet", "ResNet", "SqueezeNet", "VGG", "build", "cifar_resnet", "imagenet_resnet", "names", *_MODELS]


def names() -> list[str]:
    """The names that :func:`build` knows."""
    return list(_MODELS)


def build(name: str, **options: Any) -> Module:
    """A network by name.

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
