"""A lock that survives ``os.fork``."""

from __future__ import annotations

import os
import threading


class ForkSafeLock:
    """A reentrant lock that is free in a forked child, where the thread that held it does not exist.

    Examples
    --------
    >>> lock = ForkSafeLock()
    >>> with lock.held:
    ...     pass
    """

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.held = threading.RLock()
