"""Every test of this folder runs on the fast kernels, and again on the reference."""

from tests.both_sets import kernel_set, pytest_generate_tests

__all__ = ["kernel_set", "pytest_generate_tests"]
