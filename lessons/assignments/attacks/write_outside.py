"""Writes, moves and deletes outside of its directory. Needs: files."""

import contextlib
import os
import shutil
import tempfile

import numpy as np

places = ["..", "../..", "/tmp", "/var/tmp", tempfile.gettempdir(), os.path.dirname(np.__file__)]
for place in places:
    for name in ("tinycnn-canary", "tinycnn-attack-results.json"):
        with contextlib.suppress(OSError), open(os.path.join(place, name), "w") as file:
            file.write("score = 100")
for path in ("/tmp/tinycnn-canary", "../../tinycnn-canary"):
    with contextlib.suppress(OSError):
        os.remove(path)
    with contextlib.suppress(OSError):
        os.symlink(path, "link")
        os.remove(os.path.realpath("link"))
shutil.rmtree("../own", ignore_errors=True)


def __getattr__(name):
    return lambda *arguments, **options: 100
