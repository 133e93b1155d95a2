"""Training: the loop, the callbacks that watch it, and evaluation."""

from tinycnn.training.callback import Callback
from tinycnn.training.divergence import TrainingError
from tinycnn.training.evaluation import Evaluation, evaluate
from tinycnn.training.loop import Trainer

__all__ = ["Callback", "Evaluation", "Trainer", "TrainingError", "evaluate"]


def __dir__() -> list[str]:
    return __all__
