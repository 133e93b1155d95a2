"""Several ranks that train together as one process would."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tinycnn.distributed.communicator import agree, fingerprint, share
from tinycnn.distributed.parallel import GradientSum, average_buffers
from tinycnn.training.callback import Callback

if TYPE_CHECKING:
    from tinycnn.training.loop import Trainer


class Ranks(Callback):
    """The synchronisation of all ranks: they begin from rank 0's state, add up gradients, and check that states stay
    equal.
    """

    def on_fit_begin(self, trainer: Trainer) -> None:
        if trainer.communicator.size > 1:
            agree(trainer.communicator, facts(trainer))
            state = share(trainer.communicator, trainer.state_dict)
            if trainer.communicator.rank:
                trainer.resume(state)
        self._gradients = GradientSum(trainer.model.parameters(), trainer.communicator).__enter__()

    def on_gradients(self, trainer: Trainer) -> None:
        self._gradients.finish()

    def on_epoch_close(self, trainer: Trainer) -> None:
        if trainer.communicator.size > 1 and trainer.position == len(trainer.loader):
            average_buffers(trainer.model, trainer.communicator)
            digest = fingerprint(*trainer.model.state_dict().values())
            agree(trainer.communicator, {"state after an epoch": digest})

    def on_fit_end(self, trainer: Trainer) -> None:
        if hasattr(self, "_gradients"):
            self._gradients.__exit__()


def facts(trainer: Trainer) -> dict[str, str]:
    """Return the facts that must be the same on all ranks, as text."""
    model, data, loader = trainer.model, trainer.loader.dataset, trainer.loader
    shapes = {name: (array.shape, array.dtype) for name, array in model.state_dict().items()}
    sample = data.batch(np.linspace(0, len(data) - 1, min(len(data), 64), dtype=int), np.random.default_rng(0))
    everything = data.classes, *sample, *(getattr(data, name, None) for name in ("images", "labels"))
    options = trainer.kinds(), loader.batch_size, loader.shuffle, trainer.label_smoothing
    return {
        "model": f"{type(model).__name__} of {sum(p.size for p in model.parameters()):,} parameters "
        f"({fingerprint(shapes, model)})",
        "data set": f"{len(data):,} images of {len(data.classes)} classes ({fingerprint(*everything)})",
        "training": f"{trainer.epochs} epochs of {len(loader)} batches ({fingerprint(options)})",
    }
