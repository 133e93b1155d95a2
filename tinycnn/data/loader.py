"""Batches in a seeded order, prepared by a background thread that runs NumPy only."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinycnn.data.dataset import Dataset
from tinycnn.kernels import for_device

Batch = tuple[np.ndarray, np.ndarray]


class DataLoader:
    """Iterate over batches (images, labels) of a data set, one epoch at a time.

    The order of an epoch is a function of (seed, epoch), the augmentation of a batch one of (seed, epoch, batch): any
    place can be returned to exactly. :meth:`state_dict` names the place; after :meth:`load_state_dict` the next
    iteration goes on from there, in the middle of an epoch if need be.

    Parameters
    ----------
    dataset : Dataset
    batch_size : int
    shuffle : bool
    drop_last : bool
        Leave out a last batch that is smaller.
    seed : int
    prefetch : int
        Batches prepared ahead by a thread; 0 prepares each when it is asked for.
    shard : (rank, ranks)
        Give out only this process's part of each batch, where several processes share the work: the batches of all
        ranks together are those of one process, augmentation included. ``batch_size``, ``len`` and the place count
        whole batches.

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
        if prefetch < 0:
            raise ValueError(f"DataLoader: prefetch is {prefetch}, expected at least 0")
        if batch_size < 1:
            raise ValueError(f"DataLoader: batch_size is {batch_size}, expected at least 1")
        self.dataset, self.batch_size, self.shuffle = dataset, batch_size, shuffle
        self.drop_last, self.seed, self.prefetch = drop_last, seed, prefetch
        self.shard = shard
        self.epoch = 0
        self.position = 0
        least = self.batch_size if drop_last else len(dataset) - (len(self) - 1) * batch_size
        if min(least, batch_size) < shard[1]:
            raise ValueError(
                f"DataLoader: {len(dataset)} images in batches of {batch_size} make a batch of "
                f"{min(least, batch_size)}, fewer than the {shard[1]} processes that share it; change batch_size"
            )

    def __len__(self) -> int:
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + bool(rest and not self.drop_last)

    def __iter__(self) -> Iterator[Batch]:
        """The rest of the current epoch; then the next epoch begins."""
        return self.batches()

    def batches(self, device: str = "cpu") -> Iterator[tuple[Any, np.ndarray]]:
        """As iteration, with the images on a device: while one batch is in use, a GPU copies the next."""
        first = self.position
        source = self._prepared(first) if self.prefetch else map(self._prepare, range(first, len(self)))
        for batch in for_device(device).sent_ahead(source):
            self.position += 1
            yield batch
        self.epoch, self.position = self.epoch + 1, 0

    def rows(self, number: int) -> slice:
        """Which rows of a batch are given out: all, or the part that is this process's."""
        count = min(self.batch_size, len(self.dataset) - number * self.batch_size)
        rank, ranks = self.shard
        return slice(count * rank // ranks, count * (rank + 1) // ranks)

    def state_dict(self) -> dict[str, Any]:
        """The place: epoch, batches of it that were given out, and the seed."""
        return {"seed": self.seed, "epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a place."""
        self.seed, self.epoch, self.position = int(state["seed"]), int(state["epoch"]), int(state["position"])

    def _order(self) -> np.ndarray:
        count = len(self.dataset)
        return np.random.default_rng([self.seed, self.epoch]).permutation(count) if self.shuffle else np.arange(count)

    def _prepare(self, number: int) -> Batch:
        indices = self._order()[number * self.batch_size : (number + 1) * self.batch_size]
        images, labels = self.dataset.batch(indices, np.random.default_rng([self.seed, self.epoch, number, 1]))
        return images[self.rows(number)], labels[self.rows(number)]

    def _prepared(self, first: int) -> Iterator[Batch]:
        """Batches from a thread, which stops when they are no longer wanted; its errors are raised here."""
        ready: queue.Queue = queue.Queue(self.prefetch)
        wanted = threading.Event()
        wanted.set()

        def work() -> None:
            for number in range(first, len(self)):
                try:
                    item: Any = self._prepare(number)
                except Exception as error:
                    item = error
                if not _put(ready, item, wanted) or isinstance(item, Exception):
                    return

        thread = threading.Thread(target=work, name="tinycnn-loader", daemon=True)
        thread.start()
        try:
            for _ in range(first, len(self)):
                item = ready.get()
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            wanted.clear()
            thread.join()


def _put(ready: queue.Queue, item: Any, wanted: threading.Event) -> bool:
    """Put an item when there is room; False as soon as nobody wants it."""
    while wanted.is_set():
        try:
            ready.put(item, timeout=0.05)
            return True
        except queue.Full:
            continue
    return False
