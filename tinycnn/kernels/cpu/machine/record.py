"""A record of the loops that run inside a ``with`` block, and of their workspaces, for :func:`tinycnn.plan`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_KERNELS = Path(__file__).parents[1]


class Record:
    """The loops that ran inside a block, and their workspaces.

    Attributes
    ----------
    loops : list of (str, int)
        File and function of each kernel, such as "conv/direct.py _correlate", and the number of its tasks.
    workspaces : dict of str to int
        Bytes of each workspace by name.
    """

    def __init__(self) -> None:
        self.loops: list[tuple[str, int]] = []
        self.workspaces: dict[str, int] = {}

    def add_loop(self, kernel: Callable, tasks: int) -> None:
        """Add the loop of a kernel."""
        code = kernel.__code__
        self.loops.append((f"{Path(code.co_filename).relative_to(_KERNELS).as_posix()} {code.co_name}", tasks))

    def add_workspace(self, name: str, size: int) -> None:
        """Add a workspace; of those of one name, the largest counts."""
        self.workspaces[name] = max(size, self.workspaces.get(name, 0))


current_record: ContextVar[Record | None] = ContextVar("record", default=None)


@contextmanager
def recorded() -> Iterator[Record]:
    """Record the loops of this thread inside the block; a block inside another one has its own record."""
    record = Record()
    token = current_record.set(record)
    try:
        yield record
    finally:
        current_record.reset(token)
