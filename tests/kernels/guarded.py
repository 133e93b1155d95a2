"""Kernels between protected pages: ``python -m tests.kernels.guarded --calls 2000 --seed 0``.

Every array that a compiled loop gets, operands and workspaces alike, is moved between two pages that cannot be read or
written: one run puts each at the end of its pages, the other at the beginning. A loop that touches memory that is not
its own ends this process with a segmentation fault. The last line printed names the call.
"""

import argparse
import ctypes
import itertools
import mmap
from collections import Counter
from functools import partial

import numpy as np

import tinycnn as tc
from tests.activations import ACTIVATIONS
from tinycnn import functional as F
from tinycnn.kernels import for_device
from tinycnn.kernels.cpu.machine import parallel
from tinycnn.kernels.protocol import FILE_OF, PROTOCOL

PAGE = mmap.PAGESIZE


def protected(nbytes, at_end):
    """Return the address of ``nbytes`` between protected pages, and what keeps them."""
    pages = max(-(-nbytes // PAGE), 1)
    memory = mmap.mmap(-1, (pages + 2) * PAGE)
    first = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for guard in (first, first + (pages + 1) * PAGE):
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        if protect(ctypes.c_void_p(guard), ctypes.c_size_t(PAGE), 0):  # PROT_NONE
            raise OSError(ctypes.get_errno(), "mprotect")
    return first + PAGE + (pages * PAGE - nbytes if at_end else 0), memory


def span(array):
    """Return the addresses of the first byte of an array and of the first behind it."""
    return np.lib.array_utils.byte_bounds(array)


class Guard:
    """A replacement of the launch of loops by one on copies of its arrays between protected pages."""

    def __init__(self, run, at_end):
        self.run, self.at_end, self.loops, self.arrays = run, at_end, 0, 0

    def __call__(self, launch, count, arguments, *rest):
        arrays = [a for a in _flat(arguments) if isinstance(a, np.ndarray) and a.size]
        regions = []  # (first byte, byte behind the last, address of the copy, what keeps it)
        for low, high in _joined(sorted(span(a) for a in arrays)):
            address, keeper = protected(high - low, self.at_end)
            ctypes.memmove(address, low, high - low)
            regions.append((low, high, address, keeper))
        moved = _map(arguments, lambda array: self._moved(array, regions))
        self.loops, self.arrays = self.loops + 1, self.arrays + len(arrays)
        self.run(launch, count, moved, *rest)
        for low, high, address, _ in regions:
            if any(a.flags.writeable and low <= span(a)[0] < high for a in arrays):
                ctypes.memmove(low, address, high - low)

    @staticmethod
    def _moved(array, regions):
        if not array.size:
            return array
        start = span(array)[0]
        for low, high, address, keeper in regions:
            if low <= start < high:
                bytes_ = (ctypes.c_char * (high - low)).from_address(address)
                bytes_.keeper = keeper
                whole = np.frombuffer(bytes_, np.uint8)
                offset = array.__array_interface__["data"][0] - low
                copy = np.ndarray(array.shape, array.dtype, whole, offset, array.strides)
                copy.flags.writeable = array.flags.writeable
                return copy
        raise AssertionError("an array without a region")


def _flat(arguments):
    for argument in arguments:
        if isinstance(argument, tuple):
            yield from _flat(argument)
        else:
            yield argument


def _map(arguments, change):
    def one(argument):
        if isinstance(argument, np.ndarray):
            return change(argument)
        if isinstance(argument, tuple):
            values = [one(a) for a in argument]
            return type(argument)(*values) if hasattr(argument, "_fields") else tuple(values)
        return argument

    return tuple(one(argument) for argument in arguments)


def _joined(spans):
    """Join spans of bytes that overlap: one loop may get several views of one array."""
    joined = []
    for low, high in spans:
        if joined and low < joined[-1][1]:
            joined[-1] = joined[-1][0], max(high, joined[-1][1])
        else:
            joined.append((low, high))
    return joined


# -- random calls ------------------------------------------------------------------------------------------------------


class Calls:
    """Random operations, forward and backward, on shapes at the edges of what kernels take."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.dtype = np.float32
        self.activations = itertools.cycle(
            partial(getattr(F, name), **row.options) for name, row in ACTIVATIONS.items()
        )
        self.layouts, self.optimizers = itertools.cycle(range(4)), itertools.cycle(range(3))

    def integer(self, low, high):
        return int(self.rng.integers(low, high + 1))

    def pick(self, *choices):
        return choices[self.integer(0, len(choices) - 1)]

    def tensor(self, *shape, grad=True):
        """Return a tensor whose array is C-ordered, NHWC, Fortran-ordered, a slice, reversed or read-only."""
        data = self.rng.normal(size=shape).astype(self.dtype)
        layout = self.pick("C", "C", "NHWC", "F", "slice", "reversed", "read-only")
        if layout == "NHWC" and len(shape) == 4:
            data = np.ascontiguousarray(data.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        elif layout == "F":
            data = np.asfortranarray(data)
        elif layout == "slice":
            data = np.repeat(data, 2, axis=-1)[..., ::2] if shape else data
        elif layout == "reversed":
            data = np.ascontiguousarray(data[..., ::-1])[..., ::-1] if shape else data
        elif layout == "read-only":
            data.flags.writeable = False
        tensor = tc.Tensor.wrap(data)
        tensor.requires_grad = grad and self.integer(0, 5) > 0
        return tensor

    def image(self, most=40):
        channels = self.pick(1, 2, 3, 5, 16, 16, 17, 32, 33, 48, 64)
        large = self.integer(0, 3) == 0
        return self.tensor(self.integer(1, 3), channels, *(self.integer(1, most if large else 9) for _ in range(2)))

    def conv2d(self):
        x = self.image()
        kernel = self.pick((1, 1), (3, 3), (3, 3), (5, 5), (2, 3), (7, 7), (4, 1))
        options = {
            "stride": self.pick(1, 1, 2, 3, (1, 2)),
            "padding": self.pick(0, 1, 2, 3, (0, 4), kernel[0] // 2),
            "dilation": self.pick(1, 1, 1, 2, (3, 1)),
            "algorithm": self.pick(None, "im2col", "direct", "winograd"),
        }
        channels = x.shape[1]
        groups = self.pick(1, 1, channels, next(g for g in (2, 3, 5, 11, 17, 1) if channels % g == 0))
        outputs = groups * self.pick(1, 2, 3, 16) if groups > 1 else self.pick(1, 3, 16, 16, 17, 32, 33, 64)
        weight = self.tensor(outputs, channels // groups, *kernel)
        bias = self.tensor(outputs) if self.integer(0, 1) else None
        return F.conv2d(x, weight, bias, groups=groups, **options)

    def pool(self):
        window = self.pick(1, 2, 3, (2, 3), 5)
        stride, padding = self.pick(None, 1, 2, 3, (1, 4)), self.pick(0, 0, 1, (1, 0))
        if self.integer(0, 1):
            return F.max_pool2d(self.image(), window, stride, padding, self.pick(1, 1, 2), self.pick(True, False))
        return F.avg_pool2d(self.image(), window, stride, padding, self.pick(True, False), self.pick(True, False))

    def adaptive(self):
        x = self.image()
        return (
            F.adaptive_avg_pool2d(x, self.pick(1, 2, 3, (1, 5), (7, 2)))
            if self.integer(0, 1)
            else F.global_avg_pool2d(x)
        )

    def batch_norm(self):
        x = self.image()
        c, training = x.shape[1], self.pick(True, False)
        if training:
            return F.batch_norm(
                x, np.zeros(c, self.dtype), np.ones(c, self.dtype), self.tensor(c), self.tensor(c), True
            )
        return F.batch_norm(x, np.zeros(c, self.dtype), np.ones(c, self.dtype), self.pick(None, self.tensor(c)))

    def activation(self):
        x = self.pick(self.image(80), self.tensor(self.integer(0, 3), self.integer(1, 70)), self.tensor())
        return next(self.activations)(x)

    def softmax(self):
        x = self.pick(self.image(), self.tensor(self.integer(1, 70), self.integer(1, 300)))
        return self.pick(F.softmax, F.log_softmax)(x, self.integer(0, x.ndim - 1))

    def cross_entropy(self):
        n, c = self.integer(1, 40), self.integer(1, 30)
        inner = self.pick((), (3,), (2, 5))
        target = self.rng.integers(c, size=(n, *inner))
        weight = self.pick(None, np.ones(c, self.dtype))
        return F.cross_entropy(self.tensor(n, c, *inner), target, weight, label_smoothing=self.pick(0.0, 0.1))

    def dropout(self):
        return F.dropout(self.pick(self.image(), self.tensor(self.integer(1, 3000))), 0.4)

    def matrix(self):
        m, k, n = (self.pick(1, 2, 3, 7, 8, 16, 17, 33, 100, 257) for _ in range(3))
        if self.integer(0, 1):
            return F.linear(self.tensor(m, k), self.tensor(n, k), self.pick(None, self.tensor(n)))
        return self.tensor(m, k) @ self.tensor(k, n)

    def normalization(self):
        return F.local_response_norm(self.image(), self.integer(1, 7))

    def layout(self):
        x = self.image()
        n, c, h, w = x.shape
        kind = next(self.layouts)
        if kind == 0:
            return tc.concatenate([x, self.tensor(n, self.integer(1, 20), h, w)], 1)
        if kind == 1:
            return x[:, self.integer(0, c - 1) :, :: self.pick(1, 2, -1), self.pick(0, slice(None), [0, 0, w - 1])]
        return tc.pad(x, [self.integer(0, 3) for _ in range(4)]) if kind == 2 else x + self.tensor(*x.shape)

    def optimizer(self):
        parameter = tc.nn.Parameter(self.rng.normal(size=self.pick((3,), (17, 5), (1,), (40, 500))).astype(self.dtype))
        parameter.grad = self.tensor(*parameter.shape, grad=False).data
        make = (
            lambda p: tc.optim.SGD(p, lr=0.1),
            lambda p: tc.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
            lambda p: tc.optim.Adam(p, lr=0.1, weight_decay=0.1),
        )[next(self.optimizers)]
        make([parameter]).step()
        return parameter

    def one(self, number):
        """Run an operation, forward and backward: at first each of them in turn, later random ones."""
        names = [
            *("pool", "adaptive", "batch_norm", "activation", "softmax", "cross_entropy", "dropout", "matrix"),
            *("normalization", "layout", "optimizer", "pool", "activation", "activation", "activation"),
            *["conv2d"] * 6,
        ]
        name = names[number // 3 if number < 3 * len(names) else self.integer(0, len(names) - 1)]
        self.dtype = self.pick(np.float32, np.float32, np.float64)
        try:
            out = getattr(self, name)()
            if out.requires_grad and not out.is_leaf:
                out.backward(self.tensor(*out.shape, grad=False))
        except ValueError:  # a shape that the operation refuses
            return name, False
        return name, True


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--place", choices=("start", "end"), default="end")
    options = parser.parse_args()
    guard = Guard(parallel.run, options.place == "end")
    parallel.run = guard
    kernels, used, ran = for_device("cpu"), set(), Counter()
    for name in FILE_OF:
        kernel = getattr(kernels, name)
        setattr(kernels, name, lambda *a, _kernel=kernel, _name=name, **k: (used.add(_name), _kernel(*a, **k))[1])
    calls = Calls(options.seed)
    for number in range(options.calls):
        print(f"call {number}", end=" ", flush=True)
        name, done = calls.one(number)
        print(name, "" if done else "refused", flush=True)
        ran[name] += done
    missing = sorted(set(FILE_OF) - used - set(PROTOCOL["memory"]) - {"im2col", "col2im"} - _OF_RANKS)
    print(f"{sum(ran.values())} calls, {guard.loops} loops, {guard.arrays} arrays; not reached: {missing}")
    print(dict(ran))


_OF_RANKS = {"batch_norm_gradient_sums", "batch_norm_backward_input"}

if __name__ == "__main__":
    main()
