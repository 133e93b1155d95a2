"""Batches in a seeded order, prepared by a background thread that runs NumPy only."""

from __future__ import annotations

import operator
import os
import queue
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from tinycnn import arguments
from tinycnn.data.dataset import Dataset
from tinycnn.kernels import for_device

Batch = tuple[np.ndarray, np.ndarray]


class DataLoader:
    """An iterable over batches (images, labels) of a data set, one epoch at a time.

    Each ``iter(loader)`` is a whole epoch, also after ``next(iter(loader))``, ``break`` or an error, and several
    iterators at once do not disturb each other, as in PyTorch. The order of an epoch is a function of (seed, epoch),
    the augmentation of a batch one of (seed, epoch, batch): any place can be returned to exactly. An iterator that is
    abandoned after its first batch has used up its epoch, so that the next one is shuffled anew.

    :meth:`state_dict` names the place of the most recent iterator; after :meth:`load_state_dict` the next iterator
    starts at that place, once, in the middle of an epoch if need be.

    Parameters
    ----------
    dataset : Dataset
    batch_size : int
    shuffle : bool
    drop_last : bool
        Leave out a last batch that is smaller.
    seed : int
    prefetch : int
        Batches prepared ahead by a thread; 0 prepares each on request.
    shard : (rank, ranks)
        Return only this process's part of each batch, if several processes share the work: the batches of all ranks
        together are those of one process, augmentation included. ``batch_size``, ``len`` and the place count
        whole batches.

    Attributes
    ----------
    epoch, position : int
        The place of the most recent iterator: its epoch, and how many batches it has returned. After the last batch
        of a finished epoch, the next epoch and 0.
    resumed : bool
        True from :meth:`load_state_dict` until the next iterator is made, which starts at (epoch, position).

    Raises
    ------
    TypeError
        If ``dataset`` is not a Dataset, or a number is not an integer.
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> from tinycnn.data import ArrayDataset
    >>> loader = DataLoader(ArrayDataset(np.zeros((5, 1, 2, 2)), np.arange(5), "abcde"), batch_size=2)
    >>> [labels.tolist() for _, labels in loader]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
        prefetch: int = 2,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        if not isinstance(dataset, Dataset):
            raise TypeError(
                f"DataLoader: dataset is a {type(dataset).__name__}, expected a Dataset such as ArrayDataset"
            )
        self.dataset = dataset
        self.shuffle = arguments.flag("DataLoader", "shuffle", shuffle)
        self.drop_last = arguments.flag("DataLoader", "drop_last", drop_last)
        self.batch_size = _integer("DataLoader", "batch_size", batch_size, 1)
        self.seed = _integer("DataLoader", "seed", seed, 0)
        self.prefetch = _integer("DataLoader", "prefetch", prefetch, 0)
        if not isinstance(shard, (tuple, list)) or len(shard) != 2:
            raise ValueError(f"DataLoader: shard is {shard!r}, expected (rank, ranks)")
        rank, ranks = shard
        if not 0 <= rank < ranks:
            raise ValueError(f"DataLoader: shard is {shard}, expected (rank, ranks) with rank from 0 to ranks - 1")
        self.shard = shard
        self.epoch = 0
        self.position = 0
        self.resumed = False
        self._iterators = 0  # the number of the most recent one
        least = self.batch_size if drop_last else len(dataset) - (len(self) - 1) * self.batch_size
        if min(least, self.batch_size) < ranks:
            raise ValueError(
                f"DataLoader: {len(dataset)} images in batches of {batch_size} make a batch of "
                f"{min(least, self.batch_size)}, fewer than the {ranks} processes that share it; change batch_size"
            )

    def __len__(self) -> int:
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + bool(rest and not self.drop_last)

    def __iter__(self) -> Iterator[Batch]:
        """Return an iterator over a whole epoch, or over the rest of one after :meth:`load_state_dict`."""
        return self.batches()

    def batches(self, device: str = "cpu") -> Iterator[tuple[Any, np.ndarray]]:
        """Return an iterator with the images on a device: while one batch is in use, a GPU copies the next."""
        if not self.resumed and self.position:  # the most recent iterator was abandoned
            self.epoch, self.position = self.epoch + 1, 0
        self.resumed = False
        self._iterators += 1
        return _Epoch(self, device)

    def rows(self, number: int) -> slice:
        """Return the rows of a batch that belong to this process: all, or its part."""
        arguments.integer("DataLoader", "number", number, 0, max(len(self) - 1, 0))
        count = min(self.batch_size, len(self.dataset) - number * self.batch_size)
        rank, ranks = self.shard
        return slice(count * rank // ranks, count * (rank + 1) // ranks)

    def state_dict(self) -> dict[str, Any]:
        """Return the place of the most recent iterator: epoch, batches of it that were returned, and the seed."""
        return {"seed": self.seed, "epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let only the next iterator begin at a place that :meth:`state_dict` returned.

        Raises
        ------
        TypeError, ValueError
            If it is not a dict, an entry is missing, or it is not such a place; nothing is changed then.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"load_state_dict: the loader's state is a {type(state).__name__}, expected a dict")
        missing = [name for name in ("seed", "epoch", "position") if name not in state]
        if missing:
            raise ValueError(f"load_state_dict: the loader's state has no {' and no '.join(missing)}")
        numbers = [_integer("load_state_dict", name, state[name], 0) for name in ("seed", "epoch", "position")]
        if numbers[2] > len(self):
            raise ValueError(f"load_state_dict: position is {numbers[2]}, expected at most the {len(self)} batches")
        self.seed, self.epoch, self.position = numbers
        self.resumed = True
        self._iterators += 1  # iterators from before no longer move the place

    def _order(self, seed: int, epoch: int) -> np.ndarray:
        count = len(self.dataset)
        return np.random.default_rng([seed, epoch]).permutation(count) if self.shuffle else np.arange(count)


class _Epoch(Iterator[tuple[Any, np.ndarray]]):
    """The batches of one epoch from a loader's place on, with a place and a thread of their own."""

    def __init__(self, loader: DataLoader, device: str) -> None:
        self._loader, self._number = loader, loader._iterators
        self._epoch, self._position, self._count = loader.epoch, loader.position, len(loader)
        source = _Source(loader, self._epoch, self._position)
        self._host = source.prefetched() if loader.prefetch else source.one_by_one()
        self._batches = iter(for_device(device).prefetch_to_device(self._host))

    def __next__(self) -> tuple[Any, np.ndarray]:
        try:
            batch = next(self._batches)
        except StopIteration:
            if self._position == self._count:
                self._move(self._epoch + 1, 0)
            raise
        self._position += 1
        self._move(self._epoch, self._position)
        return batch

    def _move(self, epoch: int, position: int) -> None:
        """Advance the loader's place, unless a newer iterator or a loaded state decides it."""
        if self._number == self._loader._iterators:
            self._loader.epoch, self._loader.position = epoch, position

    def close(self) -> None:
        """End the iteration and its thread."""
        for batches in (self._batches, self._host):
            close = getattr(batches, "close", None)
            if close is not None:
                close()

    def __reduce__(self) -> Any:
        raise TypeError(
            "an iterator over a DataLoader cannot be copied or pickled: copy the loader, or save its state_dict()"
        )


class _Source:
    """A source of the batches of one epoch, prepared here or in a thread."""

    def __init__(self, loader: DataLoader, epoch: int, first: int) -> None:
        self.loader, self.seed, self.epoch = loader, loader.seed, epoch
        self.numbers = range(first, len(loader))
        self.order: np.ndarray | None = None

    def prepare(self, number: int) -> Batch:
        """Prepare one batch: this process's rows of it."""
        loader = self.loader
        if self.order is None:
            self.order = loader._order(self.seed, self.epoch)
        indices = self.order[number * loader.batch_size : (number + 1) * loader.batch_size]
        rng = np.random.default_rng([self.seed, self.epoch, number, 1])
        try:
            images, labels = loader.dataset.batch(indices, rng)
        except StopIteration as error:  # a loop would take it for the end of the epoch
            raise RuntimeError(
                f"DataLoader: the data set or its transform raised {error!r} in batch {number}"
            ) from error
        if not len(images) == len(labels) == len(indices):
            raise ValueError(
                f"DataLoader: the data set or its transform gave {len(images)} images and {len(labels)} labels for the "
                f"{len(indices)} indices of batch {number}"
            )
        return images[loader.rows(number)], labels[loader.rows(number)]

    def one_by_one(self) -> Generator[Batch, None, None]:
        """Yield batches, each prepared on request."""
        for number in self.numbers:
            yield self.prepare(number)

    def prefetched(self) -> Generator[Batch, None, None]:
        """Yield batches from a thread, which ends with the iteration; its exceptions are raised here."""
        ready: queue.Queue = queue.Queue(self.loader.prefetch)
        wanted = threading.Event()
        wanted.set()
        thread = threading.Thread(target=self._work, args=(ready, wanted), name="tinycnn-loader", daemon=True)
        process = os.getpid()
        try:
            thread.start()
            for number in self.numbers:
                # A fork copies the iterator, but not its thread.
                batch = _next_of(ready, thread) if os.getpid() == process else None
                if isinstance(batch, BaseException):
                    raise batch
                yield self.prepare(number) if batch is None else batch
        finally:
            wanted.clear()
            if os.getpid() == process and thread is not threading.current_thread():
                with suppress(RuntimeError):  # an interrupt came before it was started
                    thread.join()

    def _work(self, ready: queue.Queue, wanted: threading.Event) -> None:
        for number in self.numbers:
            try:
                item: Any = self.prepare(number)
            except BaseException as error:  # SystemExit too: the loop waits for an answer
                item = error
            if not _put(ready, item, wanted) or isinstance(item, BaseException):
                return


def _put(ready: queue.Queue, item: Any, wanted: threading.Event) -> bool:
    """Put an item when there is room; False once the iteration has ended."""
    while wanted.is_set():
        try:
            ready.put(item, timeout=0.05)
            return True
        except queue.Full:
            continue
    return False


def _next_of(ready: queue.Queue, thread: threading.Thread) -> Any:
    """Return the next item, or None if the thread has ended without one."""
    while True:
        alive = thread.is_alive()
        try:
            return ready.get(timeout=1.0) if alive else ready.get_nowait()
        except queue.Empty:
            if not alive:
                return None


def _integer(function: str, name: str, value: Any, least: int) -> int:
    """Return an argument as an int, of at least ``least``."""
    try:
        number = None if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"{function}: {name} is {value!r}, expected an integer")
    if number < least:
        raise ValueError(f"{function}: {name} is {number}, expected at least {least}")
    return number
