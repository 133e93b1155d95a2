"""Optimisers, learning-rate schedules and gradient clipping."""

from tinycnn.optim.adam import Adam, AdamW
from tinycnn.optim.clip import clip_grad_norm_, clip_grad_value_
from tinycnn.optim.optimizer import Optimizer
from tinycnn.optim.plateau import ReduceLROnPlateau
from tinycnn.optim.schedule import (
    CosineAnnealingLR,
    ExponentialLR,
    MultiStepLR,
    Schedule,
    StepLR,
    WarmUp,
)
from tinycnn.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "CosineAnnealingLR",
    "ExponentialLR",
    "MultiStepLR",
    "Optimizer",
    "ReduceLROnPlateau",
    "Schedule",
    "StepLR",
    "WarmUp",
    "clip_grad_norm_",
    "clip_grad_value_",
]


def __dir__() -> list[str]:
    return __all__
