"""Detection of arrays that change between the forward and the backward pass.

``backward`` computes with the arrays that ``forward`` saved, so its gradients are wrong if one of them changed in the
meantime. A saved array that was written to since ``forward`` (:mod:`tinycnn.kernels.versions`) is an error. A
direct NumPy write to ``tensor.data`` is not counted; inside :func:`detect_mutation` saved arrays are compared byte by
byte.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np

from tinycnn.choice import Choice
from tinycnn.kernels import on_host
from tinycnn.kernels.versions import now, version_of


class detect_mutation(Choice, default=False):
    """A ``with`` block in which every change of an array that an operation saved is detected, raw NumPy writes
    included.

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


class Snapshot(NamedTuple):
    """The moment at which ``forward`` saved arrays and, inside :class:`detect_mutation`, digests of them."""

    moment: int
    digests: list[bytes | None] | None

    @classmethod
    def of(cls, arrays: tuple[Any, ...]) -> Snapshot:
        """Take a snapshot of arrays; numbers and None among them never change."""
        digests = [_digest(array) for array in arrays] if detect_mutation.current() else None
        return cls(now(), digests)

    def changed(self, arrays: tuple[Any, ...]) -> Any:
        """Return the first of the arrays that changed since the snapshot, None if none did."""
        for i, array in enumerate(arrays):
            if version_of(array) > self.moment or (self.digests is not None and _digest(array) != self.digests[i]):
                return array
        return None


def _digest(array: Any) -> bytes | None:
    """Return a digest of an array's bytes, None for anything else."""
    if not hasattr(array, "shape"):
        return None
    values = np.ascontiguousarray(on_host(array))
    return hashlib.blake2b(values.reshape(-1).view(np.uint8).data, digest_size=16).digest()
