"""Detection of arrays that change between the forward and the backward pass.

``backward`` computes with the arrays that ``forward`` saved, so its gradients are wrong if one of them changed in the
meantime. Each buffer has a version, as in PyTorch: :func:`changing` counts every write that tinycnn makes, views of a
buffer share its version, and a saved array whose version differs from that at ``forward`` is an error. A direct NumPy
write to ``tensor.data`` cannot be counted; inside :func:`detect_mutation` saved arrays are compared byte by byte.
"""

from __future__ import annotations

import hashlib
import itertools
import weakref
from typing import Any, NamedTuple

import numpy as np

from tinycnn.kernels import for_device, is_on_gpu, on_host
from tinycnn.kernels.choice import Choice
from tinycnn.kernels.cpu.memory import memory_of

_clock = itertools.count(1)  # a version is never given twice, so a new buffer cannot be taken for an old one
_versions: dict[int, tuple[weakref.ref, int]] = {}  # of the buffers that were written to, by id


class detect_mutation(Choice, default=False):
    """Notice every change of an array that an operation saves inside this ``with`` block, raw NumPy writes included.

    ``backward`` raises RuntimeError if one changed. Costs a pass over each saved array, forward and backward; without
    it, only changes that tinycnn makes are noticed: item assignment, optimizer steps, ``load_state_dict``, running
    statistics.

    >>> import tinycnn as tc
    >>> x = tc.Tensor([1.0, 2.0], requires_grad=True)
    >>> with tc.detect_mutation():
    ...     loss = (x * x).sum()
    >>> x.data[0] = 5
    >>> loss.backward()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    RuntimeError: backward: an array of shape (2,) that Mul saved in its forward pass was changed before backward; ...
    """

    def __init__(self) -> None:
        super().__init__(True)


class changing:
    """A ``with`` block that writes to arrays: afterwards their buffers have a new version, even if it raised."""

    def __init__(self, *arrays: Any) -> None:
        self._arrays = arrays

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        for array in self._arrays:
            if array is not None:
                _set_version(buffer_of(array))


class Snapshot(NamedTuple):
    """The state of saved arrays at ``forward``: their versions and, inside :class:`detect_mutation`, digests."""

    versions: list[int]
    digests: list[bytes | None] | None

    @classmethod
    def of(cls, arrays: tuple[Any, ...]) -> Snapshot:
        """Take a snapshot of arrays; numbers and None among them never change."""
        digests = [_digest(array) for array in arrays] if detect_mutation.current() else None
        return cls([version_of(array) for array in arrays], digests)

    def changed(self, arrays: tuple[Any, ...]) -> Any:
        """Return the first of the arrays that changed since the snapshot, None if none did."""
        for i, array in enumerate(arrays):
            same = version_of(array) == self.versions[i]
            if not same or (self.digests is not None and _digest(array) != self.digests[i]):
                return array
        return None


def version_of(array: Any) -> int:
    """Return the version of an array's buffer, 0 if nothing was written to it.

    >>> x = np.zeros((2, 3))
    >>> before = version_of(x[0])
    >>> with changing(x.T):
    ...     x[1, 2] = 5
    >>> version_of(x[0]) > before
    True
    """
    if not hasattr(array, "shape"):
        return 0
    entry = _versions.get(id(buffer_of(array)))
    return 0 if entry is None else entry[1]


def buffer_of(array: Any) -> Any:
    """Return the object that owns an array's memory; arrays that share memory have the same.

    >>> x = np.zeros(4)
    >>> buffer_of(x[::2]) is x
    True
    """
    if type(array) is np.ndarray:
        return array if array.base is None else memory_of(array)
    return for_device("cuda" if is_on_gpu(array) else "cpu").memory_of(array)


def _set_version(buffer: Any) -> None:
    key = id(buffer)
    entry = _versions.get(key)
    reference = weakref.ref(buffer, lambda _: _versions.pop(key, None)) if entry is None else entry[0]
    _versions[key] = reference, next(_clock)


def _digest(array: Any) -> bytes | None:
    """Return a digest of an array's bytes, None for what is not an array."""
    if not hasattr(array, "shape"):
        return None
    values = np.ascontiguousarray(on_host(array))
    return hashlib.blake2b(values.reshape(-1).view(np.uint8).data, digest_size=16).digest()
