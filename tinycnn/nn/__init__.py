"""Layers, containers, losses and initialisation."""

from tinycnn.nn import activations, containers, init, layers, losses
from tinycnn.nn.activations import *
from tinycnn.nn.containers import *
from tinycnn.nn.layers import *
from tinycnn.nn.losses import *
from tinycnn.nn.module import Module as Module
from tinycnn.nn.module import Parameter as Parameter

__all__ = ["Module", "Parameter", "init"]
__all__ += activations.__all__
__all__ += containers.__all__
__all__ += layers.__all__
__all__ += losses.__all__


def __dir__() -> list[str]:
    return sorted(__all__)
