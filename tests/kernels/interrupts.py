"""A program that interrupts kernels of every kind by exceptions of signal handlers, and compares what it computes next.

Run it as ``python -m tests.kernels.interrupts COUNT BUSY SEED``: it sends at least COUNT signals, at least BUSY of
which reach the process while a worker runs, and prints both numbers. Its exit status is 0 if each later result has the
bits that it had before the first signal, and no memory is lost.
"""

import gc
import os
import random
import signal
import sys
import threading
import time

import numpy as np

import tinycnn as tc
from tinycnn import functional as F
from tinycnn.kernels.cpu.machine import allocator
from tinycnn.kernels.cpu.machine import threads as pool
from tinycnn.kernels.cpu.machine.mailbox import CLAIMED, DONE

SEED = int(sys.argv[3]) if __name__ == "__main__" else 0
PICK, RNG = random.Random(SEED), np.random.default_rng(SEED)


def _numbers(*shape):
    return RNG.normal(size=shape).astype(np.float32)


IMAGES, MAPS = _numbers(4, 16, 40, 40), _numbers(2, 32, 20, 20)
SMALL, SQUARE = _numbers(16, 16, 3, 3), _numbers(16, 32, 5, 5)
ROWS, MATRIX = _numbers(128, 512), _numbers(256, 512)
VECTOR, LABELS = _numbers(16), RNG.integers(512, size=128)


def _gradients(function, *arrays):
    """Return a function that computes the result of a differentiable function, and its gradients."""

    def job():
        inputs = [tc.Tensor(array, requires_grad=True) for array in arrays]
        out = function(*inputs)
        (out * out).sum().backward()
        return [out.data, *(tensor.grad for tensor in inputs)]

    return job


def _steps(optimizer):
    """Return a function that makes two steps of an optimizer."""

    def job():
        parameter = tc.nn.Parameter(MATRIX.copy())
        rule = optimizer([parameter])
        for _ in range(2):
            parameter.grad = ROWS[:1] * MATRIX
            rule.step()
        return [parameter.data]

    return job


def _dropout(x):
    tc.manual_seed(3)
    return F.dropout(x, 0.5, True)


def _norm(x, weight, bias):
    mean, var = np.zeros(16, np.float32), np.ones(16, np.float32)
    return F.batch_norm(x, mean, var, weight, bias, True)


JOBS = {
    "direct": _gradients(lambda x, w: F.conv2d(x, w, padding=1, algorithm="direct"), IMAGES, SMALL),
    "winograd": _gradients(lambda x, w: F.conv2d(x, w, padding=1, algorithm="winograd"), IMAGES, SMALL),
    "im2col": _gradients(lambda x, w: F.conv2d(x, w, padding=2, algorithm="im2col"), MAPS, SQUARE),
    "stride": _gradients(lambda x, w: F.conv2d(x, w, stride=2, padding=2), MAPS, SQUARE),
    "linear": _gradients(lambda x, w: F.linear(x, w), ROWS, MATRIX),
    "max pool": _gradients(lambda x: F.max_pool2d(x, 3, 2), IMAGES),
    "average pool": _gradients(lambda x: F.avg_pool2d(x, 2), IMAGES),
    "batch norm": _gradients(_norm, IMAGES, VECTOR, VECTOR),
    "response norm": _gradients(lambda x: F.local_response_norm(x, 5), IMAGES),
    "softmax": _gradients(lambda x: F.softmax(x, 1), ROWS),
    "cross entropy": _gradients(lambda x: F.cross_entropy(x, LABELS), ROWS),
    "dropout": _gradients(_dropout, IMAGES),
    "relu": _gradients(F.relu, IMAGES),
    "sigmoid": _gradients(F.sigmoid, IMAGES),
    "layout": _gradients(lambda x: F.relu(x.transpose(1, 3)).reshape(4, -1), IMAGES),
    "SGD": _steps(lambda p: tc.optim.SGD(p, lr=0.1, momentum=0.9)),
    "Adam": _steps(lambda p: tc.optim.Adam(p, lr=0.1)),
}


class TimeLimit(BaseException):
    """An exception that is not an Exception, as test programs raise it."""


KINDS = (KeyboardInterrupt, TimeLimit, ValueError)


class _Sender(threading.Thread):
    """Sends SIGINT while a worker runs, and counts how often that succeeded."""

    def __init__(self):
        super().__init__(daemon=True)
        self.wanted, self.sent, self.busy = threading.Event(), 0, 0
        self.start()

    def run(self):
        while True:
            self.wanted.wait()
            time.sleep(random.uniform(0, 0.003))
            while self.wanted.is_set() and not self._is_busy():
                pass
            if self.wanted.is_set():
                self.wanted.clear()
                before = self._is_busy()
                os.kill(os.getpid(), signal.SIGINT)
                self.busy += before and self._is_busy()
                self.sent += 1

    @staticmethod
    def _is_busy():
        """Return True if a worker is at a job."""
        team = pool._pool.team
        return team is not None and bool((team.mailboxes[1:, CLAIMED] != team.mailboxes[1:, DONE]).any())


class _Signals:
    """Raises one exception each time that it is armed."""

    def __init__(self):
        self.armed, self.raised, self.alarms = False, 0, 0
        self.sender = _Sender()
        signal.signal(signal.SIGINT, self.handle)
        signal.signal(signal.SIGALRM, self.handle)

    def handle(self, number, frame):
        if self.armed:
            self.armed = False
            self.raised += 1
            raise KINDS[self.raised % len(KINDS)]("interrupted")

    def run(self, job):
        """Run a job until a signal cuts it, at most for a while."""
        self.armed = True
        if PICK.random() < 0.3:
            self.alarms += 1
            signal.setitimer(signal.ITIMER_REAL, PICK.uniform(1e-6, 0.01))
        else:
            self.sender.wanted.set()
        stop = time.monotonic() + 0.3
        while self.armed and time.monotonic() < stop:
            job()
        self.armed = False

    def stop(self):
        self.armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.sender.wanted.clear()


def _memory():
    """Return the bytes of all slabs and the bytes in use; stop if some are neither free nor in use."""
    gc.collect()
    held = used = 0
    for slab in allocator._slabs:
        slab.collect()
        taken = sum(block.stop - block.start for block in slab.used.values())
        free = sum(stop - start for start, stop in slab.free)
        if taken + free != slab.memory.nbytes:
            sys.exit(f"of {slab.memory.nbytes} bytes {taken} are in use and {free} free")
        held, used = held + slab.memory.nbytes, used + taken
    return held, used


def main(count, busy):
    tc.set_num_threads(4)
    sys.setswitchinterval(1e-4)  # the sender watches the workers while the main thread computes
    right = {}
    for name, job in JOBS.items():
        right[name] = [array.copy() for array in job()]
    for name, job in JOBS.items():  # all workspaces exist
        _compare(name, right[name], job())
    before = _memory()
    signals = _Signals()
    while signals.raised < count or signals.sender.busy < busy:
        name = PICK.choice(list(JOBS))
        try:
            try:
                signals.run(JOBS[name])
            except KINDS:
                if PICK.random() < 0.3:
                    signals.run(JOBS[PICK.choice(list(JOBS))])
        except KINDS:
            pass
        signals.stop()
        for after in (name, PICK.choice(list(JOBS))):
            _compare(after, right[after], JOBS[after]())
    after = _memory()
    if after[0] > before[0] or after[1] > before[1]:  # a workspace may have been replaced by a smaller one
        sys.exit(f"bytes of the slabs, bytes in use: {before} before, {after} after")
    print(f"{signals.raised} interrupts, {signals.sender.busy} while a worker ran; slabs of {after[0]} bytes")


def _compare(name, right, arrays):
    for wanted, array in zip(right, arrays, strict=True):
        if not np.array_equal(wanted, array, equal_nan=True):
            sys.exit(f"{name}: {(wanted != array).sum()} of {array.size} values differ")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
