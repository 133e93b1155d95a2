"""tinycnn: a CNN framework to read in an afternoon, from the autograd engine to AlexNet, VGG, ResNet and SqueezeNet."""

from importlib.metadata import PackageNotFoundError, version
from os import environ

from tinycnn import data, functional, models, nn, ops, optim
from tinycnn.autograd import Function
from tinycnn.execution_plan import plan
from tinycnn.grad_mode import enable_grad, is_grad_enabled, no_grad
from tinycnn.gradient_check import gradcheck, gradcheck_model
from tinycnn.kernels import use_kernels
from tinycnn.kernels.cpu.machine.settings import get_num_threads, set_num_threads
from tinycnn.layer_table import summary
from tinycnn.mutation import detect_mutation
from tinycnn.ops.convolution import convolution_algorithm
from tinycnn.profiler import profile, profile_process
from tinycnn.random import Generator, manual_seed
from tinycnn.tensor import Tensor
from tinycnn.tensor_functions import broadcast_to, concatenate, matmul, maximum, pad, stack, where
from tinycnn.training_record import watch

try:
    __version__ = version("tinycnn")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0+unknown"

if environ.get("TINYCNN_DEBUG", "0") not in ("", "0"):
    profile_process()

__all__ = [
    "Function",
    "Generator",
    "Tensor",
    "broadcast_to",
    "concatenate",
    "convolution_algorithm",
    "data",
    "detect_mutation",
    "enable_grad",
    "functional",
    "get_num_threads",
    "gradcheck",
    "gradcheck_model",
    "is_grad_enabled",
    "manual_seed",
    "matmul",
    "maximum",
    "models",
    "nn",
    "no_grad",
    "ops",
    "optim",
    "pad",
    "plan",
    "profile",
    "set_num_threads",
    "stack",
    "summary",
    "use_kernels",
    "watch",
    "where",
]


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
