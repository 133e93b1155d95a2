"""Random numbers: one seed for everything, or a generator of your own."""

from __future__ import annotations

from typing import Any

import numpy as np


class Generator:
    """A seeded source of random numbers whose state can be saved and restored.

    Parameters
    ----------
    seed : int
        Same seed, same numbers.

    Attributes
    ----------
    numpy : numpy.random.Generator
        For initial weights, shuffles and augmentation.
    row : int
        Where this process has a part of a batch: the part's first row. Dropout then draws what one process would draw
        for that part of the whole batch.

    Notes
    -----
    Dropout takes a numbered stream instead (:meth:`next_stream`): its kernels compute element ``i`` of stream ``s``
    directly from (seed, s, i), so the bits do not depend on threads or on the device.

    Examples
    --------
    >>> Generator(0).numpy.integers(10, size=3).tolist() == Generator(0).numpy.integers(10, size=3).tolist()
    True
    """

    def __init__(self, seed: int = 0) -> None:
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise ValueError(f"seed is {seed!r}, expected an integer of at least 0")
        self.seed = int(seed)
        self.numpy = np.random.Generator(np.random.PCG64(self.seed))
        self._streams = 0
        self.row = 0

    def next_stream(self) -> int:
        """The number of a stream that was not used before."""
        self._streams += 1
        return self._streams

    def get_state(self) -> dict[str, Any]:
        """All of it, made of plain numbers and strings."""
        return {"seed": self.seed, "streams": self._streams, "numpy": self.numpy.bit_generator.state}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from a state that :meth:`get_state` gave."""
        self.seed = int(state["seed"])
        self._streams = int(state["streams"])
        self.numpy.bit_generator.state = state["numpy"]


_default = Generator(0)


def default_generator() -> Generator:
    """The generator used where none is passed."""
    return _default


def manual_seed(seed: int) -> Generator:
    """Restart the default generator from a seed, and return it."""
    _default.__init__(seed)  # type: ignore[misc]
    return _default
