"""Writing files so that a kill at any moment leaves the old one or the new one, never half of one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file that takes the place of ``path`` when the block ends without an error.

    Raises
    ------
    OSError
        If it cannot be written (no space, no permission): ``path`` is as it was.
    """
    path = Path(path)
    # Opened as any file is, so that it has the mode of the user's umask; tempfile's would be private.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, f"cannot write {path} ({error.strerror}); what was there is unchanged") from error
    finally:
        temporary.unlink(missing_ok=True)
