"""Starts processes that start processes, each of which would outlive its parent. Needs: calls."""

import contextlib
import os
import subprocess
import sys
import time


def __getattr__(name):
    def answer(*arguments, **options):
        started = 0
        with contextlib.suppress(OSError):
            for _ in range(6):  # 2**6 processes if there is no limit
                os.fork()
            os.setsid()
            started += 1
        with contextlib.suppress(OSError):
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
            started += 1
        if started:
            time.sleep(60)
        return 0

    return answer
