"""Each CUDA kernel against the CPU's: the same results, and the same arguments afterwards."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tinycnn.kernels import for_device
from tinycnn.kernels.protocol import FILE_OF

EXACT = {"relu", "relu_backward", "dropout", "max_pool2d"}
