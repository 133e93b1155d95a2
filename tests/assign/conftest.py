"""Fixtures of the assignments' tests."""

import pytest

from tests.assign.toy import write


@pytest.fixture
def toy(tmp_path):
    """Return a task of two functions and a text."""
    return write(tmp_path / "A99_toy")
