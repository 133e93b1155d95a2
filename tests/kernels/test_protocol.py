"""Every device package offers the protocol's functions with the same signatures."""

import inspect

import pytest

from tinycnn import kernels
from tinycnn.kernels import protocol


@pytest.mark.parametrize("device", kernels.DEVICES)
@pytest.mark.parametrize("file", protocol.PROTOCOL)
def test_a_device_has_every_kernel_with_the_cpus_signature(device, file):
    own, reference = kernels.Kernels(device), kernels.Kernels("cpu")  # also where there is no such device
    for name in protocol.PROTOCOL[file]:
        kernel = getattr(own, name)
        assert kernel.__module__.startswith(f"tinycnn.kernels.{device}.")
        assert parameters(kernel) == parameters(getattr(reference, name))


def parameters(kernel):
    """Names and defaults: the types of arrays differ."""
    return [(p.name, p.default) for p in inspect.signature(kernel).parameters.values()]


def test_an_unknown_kernel_or_device_is_named():
    with pytest.raises(AttributeError, match="has no kernel 'convolve'"):
        kernels.for_device("cpu").convolve  # noqa: B018
    with pytest.raises(ValueError, match="device is 'tpu', expected one of: cpu, cuda"):
        kernels.for_device("tpu")
