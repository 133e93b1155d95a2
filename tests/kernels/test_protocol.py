"""Every set of kernels offers the protocol's functions with the same signatures."""

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest

import tinycnn as tc
from tests.activations import ACTIVATIONS
from tinycnn import functional as F
from tinycnn import kernels, nn, ops
from tinycnn.kernels import protocol

SETS = [*kernels.DEVICES, "reference"]


@pytest.mark.parametrize("package", SETS)
@pytest.mark.parametrize("file", protocol.PROTOCOL)
def test_a_device_has_every_kernel_with_the_cpus_signature(package, file):
    own = kernels.KernelSet(package)  # also where there is no such device
    for name in protocol.PROTOCOL[file]:
        kernel = getattr(own, name)
        assert kernel.__module__.startswith(f"tinycnn.kernels.{package}.")
        assert parameters(kernel) == parameters(getattr(protocol.Kernels, name))[1:]


@pytest.mark.parametrize("name", [name for name in protocol.PROTOCOL["activation"] if "_backward" not in name])
def test_an_activation_is_in_every_room(name):
    row = ACTIVATIONS.get(name)
    assert row is not None, f"tests/activations.py has no row {name!r}"
    assert f"{name}_backward" in protocol.FILE_OF
    assert issubclass(getattr(ops.activation, row.layer), tc.Function)
    assert issubclass(getattr(nn, row.layer), nn.Activation)
    assert name in F.__all__


def parameters(kernel):
    """Names, kinds and defaults: the types of arrays differ."""
    return [(p.name, p.kind, p.default) for p in inspect.signature(kernel).parameters.values()]


def test_the_table_of_files_is_made_of_the_families():
    assert protocol.PROTOCOL["gemm"] == ("matmul",)
    assert protocol.FILE_OF["conv2d_backward_bias"] == "convolution"
    assert sum(map(len, protocol.PROTOCOL.values())) == len(protocol.FILE_OF)


@pytest.mark.parametrize("name", protocol.FILE_OF)
def test_the_protocol_documents_each_kernel(name):
    assert getattr(protocol.Kernels, name).__doc__.startswith(("Return ", "Set ", "Join ", "Move ", "Take ", "Begin "))


@pytest.mark.parametrize("package", SETS)
def test_no_set_repeats_the_protocols_docstrings(package):
    for name in protocol.FILE_OF:
        own, contract = kernels.unchecked(package, name).__doc__, getattr(protocol.Kernels, name).__doc__
        assert own is None or own.splitlines()[0] != contract.splitlines()[0]


def test_operations_use_no_other_functions_of_numpy_than_the_contract_of_arrays_names():
    on_numbers = {"argsort", "array", "atleast_1d", "broadcast_shapes", "cumsum", "ndindex"}
    on_numbers |= {"append", "errstate", "float64", "inf", "integer", "ndarray", "ufunc"}  # statistics of ranks; types
    used = {name for path in Path(ops.__file__).parent.glob("*.py") for name in numpy_names(path)}
    assert used - on_numbers <= set(protocol.NUMPY_FUNCTIONS)


def test_device_arrays_have_every_function_of_the_contract():
    from tinycnn.kernels.cuda.elementwise import FUNCTIONS
    from tinycnn.kernels.cuda.machine.device_array import HANDLED_FUNCTIONS

    composed = {"add.at", "sign"}
    functions = {getattr(np, name) for name in set(protocol.NUMPY_FUNCTIONS) - composed}
    assert functions <= set(FUNCTIONS) | set(HANDLED_FUNCTIONS)


def numpy_names(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "np":
            yield "add.at" if node.attr == "add" else node.attr


def test_an_unknown_kernel_or_device_is_named():
    with pytest.raises(AttributeError, match="has no kernel 'convolve'"):
        kernels.for_device("cpu").convolve  # noqa: B018
    with pytest.raises(ValueError, match="device is 'tpu', expected one of: cpu, cuda"):
        kernels.for_device("tpu")
