"""Every test of an operation runs on the fast kernels, and again on the reference."""

import pytest

import tinycnn as tc


def pytest_generate_tests(metafunc):
    metafunc.parametrize("kernel_set", ["fast", "reference"], indirect=True, ids=[pytest.HIDDEN_PARAM, "reference"])


@pytest.fixture(autouse=True)
def kernel_set(request):
    """The kernels that operations of this test use; the fast ones are not in the test's id."""
    with tc.use_kernels(request.param):
        yield request.param
