"""What holds for every test."""

import pytest

import tinycnn as tc


@pytest.fixture(autouse=True)
def same_number_of_threads():
    """A test that changes the number of threads changes it for itself only."""
    threads = tc.get_num_threads()
    yield
    tc.set_num_threads(threads)
