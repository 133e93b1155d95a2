"""The contents of folders, for the message that a data set was not found in them."""

from __future__ import annotations

import os
from pathlib import Path

_SHOWN = 8


def names_there(*folders: Path) -> list[str]:
    """Return a line for each folder that is not empty, with the first names in it.

    A file under a name that is not recognised, or an archive that was not unpacked, is seen in it.
    """
    lines = []
    for folder in dict.fromkeys(folders):
        try:
            names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
        except OSError:
            continue
        if names:
            rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            lines.append(f"In {folder} there is: {', '.join(map(repr, names[:_SHOWN]))}{rest}")
    return lines
