"""A fixture that runs every test of a folder on the fast kernels, and again on the reference: its conftest.py
imports it.
"""

import pytest

import tinycnn as tc


def pytest_generate_tests(metafunc):
    metafunc.parametrize("kernel_set", ["fast", "reference"], indirect=True, ids=[pytest.HIDDEN_PARAM, "reference"])


@pytest.fixture(autouse=True)
def kernel_set(request):
    """Use the kernels of this test's parameter; the fast ones are not in its id."""
    with tc.use_kernels(request.param):
        yield request.param
