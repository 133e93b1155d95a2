"""Arguments for every CUDA kernel: those of :mod:`tests.kernels.cases`, and of expressions on arrays.

A name may have a slash and an algorithm, where a kernel has several.
"""

import numpy as np

from tests.kernels.cases import CASES as KERNEL_CASES
from tests.kernels.cases import SPECIAL, numbers
from tinycnn.kernels.cuda.elementwise import FUNCTIONS

MATMULS = ("matmul/naive", "matmul/tiled", "matmul/registers", "matmul/cublas")
CASES = {}


def case(*names):
    """Register a generator of arguments for the expressions of these names."""

    def register(generator):
        CASES.update(dict.fromkeys(names, generator))
        return generator

    return register


# -- arrays --------------------------------------------------------------------------------------------------


def change(x, index, value):
    x[index] = value


EXPRESSIONS = {f"numpy.{function.__name__}": function for function in FUNCTIONS} | {
    "sign": np.sign,
    "astype": lambda x: x.astype(np.float32),
    "copy": lambda x: x.transpose(2, 0, 1).copy(),
    "sum": lambda x: (x.sum(), x.sum(axis=1), x.sum(axis=(0, 2), keepdims=True)),
    "max": lambda x: (x.max(), x.max(axis=-1), x.min(), x.min(axis=0)),
    "argmax": lambda x: (x.argmax(), x.argmax(axis=1)),
    "mean": lambda x: x.mean(axis=1),
    "where": lambda x: (np.where(x > 0, x, x * 2), np.where(x > 0, 0, x)),
    "clip": lambda x: np.clip(x, -0.5, 0.5),
    "concatenate": lambda x: (np.concatenate([x, x[:1]]), np.stack([x, x * 2], axis=1)),
    "rows": lambda x: (x[[2, 0, 2]], x[..., [1]], x[1, :, ::-2]),
    "put": lambda x: change(x, [2, 0], 7),
    "put_one": lambda x: change(x, (1, -2, 3), 7),
    "take_along_axis": lambda x, where: np.take_along_axis(x, where, 1),
    "put_along_axis": lambda x, where, y: np.put_along_axis(x, where, y, 1),
    "add_at": lambda x, y: np.add.at(x, [2, 0, 2], y),
}
UNARY = "negative", "absolute", "exp", "log", "sqrt", "isnan", "isfinite"


@case(*(f"numpy.{name}" for name in UNARY), "sign")
def unary(dtype):
    yield (numbers(dtype, 2, 3, 4),)
    yield (SPECIAL.astype(dtype),)


@case(*(name for name in EXPRESSIONS if name.startswith("numpy.") and name[6:] not in UNARY))
def binary(dtype):
    x, y = numbers(dtype, 2, 3, 4), numbers(dtype, 2, 3, 4, seed=1)
    yield x, y
    yield abs(x), 2
    yield 2, x
    yield x, numbers(dtype, 3, 1)
    yield numbers(dtype, 4, 3, 2).T, y
    yield numbers(dtype, 2, 1, 3, 1, 2), numbers(dtype, 3, 1, 2, 1)
    yield SPECIAL.astype(dtype), np.roll(SPECIAL, 1).astype(dtype)


@case("numpy.bitwise_and", "numpy.bitwise_or")
def bitwise(dtype):
    x, y = numbers(dtype, 3, 4) > 0, numbers(dtype, 3, 4, seed=1) > 0
    yield x, y
    yield x, y[0]
    yield True, x
    yield x, False


@case("astype", "copy", "sum", "max", "argmax", "mean", "where", "clip", "concatenate", "rows", "put", "put_one")
def one_array(dtype):
    yield (numbers(dtype, 3, 5, 4).round(1),)


@case("take_along_axis")
def take_along_axis(dtype):
    yield numbers(dtype, 3, 5, 2), np.array([[[4, 0]], [[1, 1]], [[3, 2]]])


@case("put_along_axis")
def put_along_axis(dtype):
    yield *next(take_along_axis(dtype)), numbers(dtype, 3, 1, 2)


@case("add_at")
def add_at(dtype):
    yield numbers(dtype, 3, 2), numbers(dtype, 3, 2, seed=1)


CASES |= KERNEL_CASES | dict.fromkeys(MATMULS, KERNEL_CASES["matmul"])
