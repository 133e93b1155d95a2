"""The assignment that tests of the machinery share."""

import pytest

from tests.assign.toy import write


@pytest.fixture
def toy(tmp_path):
    """Two functions and a text."""
    return write(tmp_path / "A99_toy")
