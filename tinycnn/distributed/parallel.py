"""Data-parallel training: each rank computes the gradients of its part of the batch, and they are added up.

With N images in the joined batch and n of them on a rank, the joined loss is the sum over ranks of n / N times a
rank's mean loss. Its gradient is the sum of theirs: what one process would compute on the joined batch, to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np

from tinycnn import arguments
from tinycnn.distributed.communicator import Communicator, DistributedError, Done, Request, check_communicator
from tinycnn.hooks import Hook
from tinycnn.kernels.versions import changing
from tinycnn.nn import BatchNorm2d, Module
from tinycnn.tensor import Tensor

BUCKET = 2**22


class GradientSum:
    """The sum of the gradients of all ranks, in buckets, computed during the backward pass. A context manager.

    Backward reaches the last layer first, so parameters are packed from the last to the first. When all gradients of a
    bucket are known, its all-reduce starts; buckets have the same order on all ranks. A step is ``zero_grad``, one
    backward pass, ``finish``.

    Parameters
    ----------
    parameters : iterable of Parameter
        Of the same shapes in the same order on all ranks; those that do not require gradients are left out.
    communicator : Communicator
    bucket_bytes : int
        Bytes of a full bucket (default 4 MiB). Small buckets start early, large ones pay latency rarely.

    Examples
    --------
    >>> from tinycnn import nn
    >>> from tinycnn.distributed import ALONE
    >>> layer = nn.Linear(2, 1)
    >>> with GradientSum(layer.parameters(), ALONE) as gradients:
    ...     layer(Tensor(np.ones((3, 2), np.float32))).mean().backward()
    ...     gradients.finish()
    >>> layer.weight.grad
    array([[1., 1.]], dtype=float32)
    """

    def __init__(self, parameters: Iterable[Tensor], communicator: Communicator, bucket_bytes: int = BUCKET) -> None:
        check_communicator("GradientSum", communicator)
        arguments.integer("GradientSum", "bucket_bytes", bucket_bytes, 1)
        if isinstance(parameters, (Tensor, str)) or not isinstance(parameters, Iterable):
            raise TypeError(f"GradientSum: parameters is a {type(parameters).__name__}, expected a list of parameters")
        self.communicator = communicator
        members = [p for p in parameters if p.requires_grad] if communicator.size > 1 else []
        self.buckets = [_Bucket(group) for group in _grouped(members[::-1], bucket_bytes)]
        self._hooks: list[Hook] = []
        self._started = 0

    def __enter__(self) -> GradientSum:
        for bucket in self.buckets:
            for parameter in bucket.parameters:
                self._hooks.append(parameter.register_post_accumulate_grad_hook(partial(self._take, bucket)))
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def _take(self, bucket: _Bucket, parameter: Tensor) -> None:
        """Take a complete gradient: start the buckets whose turn it is, and advance those in progress."""
        bucket.take(parameter)
        while self._started < len(self.buckets) and not self.buckets[self._started].missing:
            self.buckets[self._started].start(self.communicator)
            self._started += 1
        for started in self.buckets[: self._started]:
            started.request.test()

    def finish(self) -> None:
        """Wait for all sums; each parameter's ``grad`` is then the joined batch's.

        Raises
        ------
        DistributedError
            If the backward pass did not reach a parameter: ranks could not tell whether others have it.
        """
        for bucket in self.buckets:
            if bucket.missing:
                shape = next(iter(bucket.missing.values())).shape
                raise DistributedError(f"a parameter of shape {shape} got no gradient: all must take part in the loss")
        for bucket in self.buckets:
            bucket.finish()
        self._started = 0


class _Bucket:
    """Parameters whose gradients are stored one after another in one array; a single one's stays where it is."""

    def __init__(self, parameters: list[Tensor]) -> None:
        self.parameters = parameters
        self.array = np.empty(sum(p.size for p in parameters) if len(parameters) > 1 else 0, parameters[0].dtype)
        ends = np.cumsum([p.size for p in parameters])
        self.places = {
            id(p): self.array[end - p.size : end].reshape(p.shape)
            for p, end in zip(parameters, ends.tolist())
            if len(parameters) > 1
        }
        self.missing = {id(p): p for p in parameters}
        self.request: Request = Done(self.array)

    def take(self, parameter: Tensor) -> None:
        """Copy a parameter's complete gradient into the bucket."""
        if self.missing.pop(id(parameter), None) is None:
            raise DistributedError("a second backward pass before finish(): its gradients would get lost")
        if self.places:
            place = self.places[id(parameter)]
            place[...] = parameter.grad
            parameter.grad = place
        else:
            self.array = parameter.grad = np.ascontiguousarray(parameter.grad)

    def start(self, communicator: Communicator) -> None:
        self.request = communicator.allreduce(self.array)

    def finish(self) -> None:
        self.request.wait()
        self.missing = {id(p): p for p in self.parameters}


def _grouped(parameters: list[Tensor], bucket_bytes: int) -> Iterator[list[Tensor]]:
    """Return groups of parameters: each large one alone; small ones of one dtype, up to a number of bytes."""
    group: list[Tensor] = []
    for parameter in parameters:
        if parameter.data.nbytes >= bucket_bytes:
            yield [parameter]
            continue
        if group and parameter.dtype != group[0].dtype:
            yield group
            group = []
        group.append(parameter)
        if sum(p.data.nbytes for p in group) >= bucket_bytes:
            yield group
            group = []
    if group:
        yield group


def synchronize_batch_norm(model: Module, communicator: Communicator | None) -> None:
    """Make batch norm in training use mean and variance over all ranks' images, as one process would.

    With None each rank normalises by its own images again.
    """
    arguments.instance("synchronize_batch_norm", "model", model, Module, "a Module")
    if communicator is not None:
        check_communicator("synchronize_batch_norm", communicator)
    for module in model.modules():
        if isinstance(module, BatchNorm2d):
            module.communicator = communicator


def average_buffers(model: Module, communicator: Communicator) -> None:
    """Replace running statistics by their average over ranks, so that all ranks have the same."""
    for _, array in model.named_buffers():
        if array.dtype.kind == "f" and communicator.size > 1:
            with changing(array):
                array[...] = communicator.allreduce(array.copy()).wait() / communicator.size
