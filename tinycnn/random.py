"""Random numbers: one seed for everything, or a generator of your own."""

from __future__ import annotations

import copy
import operator
from typing import Any

import numpy as np

from tinycnn.locks import ForkSafeLock

_counting = ForkSafeLock()  # of every generator's streams


class Generator:
    """A seeded source of random numbers whose state can be saved and restored.

    Parameters
    ----------
    seed : int
        From 0 to 2**64 - 1. Same seed, same numbers. (PyTorch also takes negative seeds, which it maps to large ones.)

    Attributes
    ----------
    numpy : numpy.random.Generator
        For initial weights, shuffles and augmentation.
    row : int
        The first row of this process's part of a batch. Dropout draws the same numbers as one process would draw for
        that part of the whole batch.

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
        self.seed = _seed(seed)
        self.numpy = np.random.Generator(np.random.PCG64(self.seed))
        self._streams = 0
        self.row = 0

    def next_stream(self) -> int:
        """Return the number of a stream that was not used before, in any thread."""
        with _counting.held:
            self._streams += 1
            return self._streams

    def get_state(self) -> dict[str, Any]:
        """Return the whole state, made of plain numbers and strings; later draws do not change it."""
        return {"seed": self.seed, "streams": self._streams, "numpy": self.numpy.bit_generator.state}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from a state that :meth:`get_state` gave.

        Raises
        ------
        ValueError
            If it is not such a state; nothing is changed then.
        """
        try:
            seed, streams = _seed(state["seed"]), operator.index(state["streams"])
            fresh = np.random.PCG64(0)
            fresh.state = state["numpy"]
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError(f"set_state: the state of a generator is damaged ({error!r})") from error
        if streams < 0:
            raise ValueError(f"set_state: streams is {streams}, expected at least 0")
        self.seed, self._streams = seed, streams
        self.numpy.bit_generator.state = fresh.state

    def __copy__(self) -> Generator:
        """Return a generator that draws the same numbers from here on, without changing this one."""
        return copy.deepcopy(self)


def _seed(seed: Any) -> int:
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed is {seed!r}, expected an integer of at least 0")
    if seed >= 2**64:
        raise ValueError(f"seed is {seed}, expected an integer below 2**64")
    return int(seed)


_default = Generator(0)


def default_generator() -> Generator:
    """Return the generator that is used if none is passed, one for the whole process."""
    return _default


def manual_seed(seed: int) -> Generator:
    """Restart the default generator from a seed, and return it."""
    _default.__init__(seed)  # type: ignore[misc]
    return _default
