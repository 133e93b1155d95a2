"""Writes, moves and deletes outside of its directory. Needs: files."""

import contextlib
import glob
import os
import shutil
import tempfile

import numpy as np

places = ["..", "../..", "/tmp", "/var/tmp", tempfile.gettempdir(), os.path.dirname(np.__file__)]
canaries = [path for place in places for path in glob.glob(f"{place}/tinycnn-canary*")]
for path in [*canaries, *(f"{place}/tinycnn-attack-results.json" for place in places)]:
    with contextlib.suppress(OSError), open(path, "w") as file:
        file.write("score = 100")
for path in canaries:
    with contextlib.suppress(OSError):
        os.symlink(path, "link")
        os.remove(os.path.realpath("link"))
    with contextlib.suppress(OSError):
        os.remove(path)
shutil.rmtree("../own", ignore_errors=True)


def __getattr__(name):
    return lambda *arguments, **options: 100
