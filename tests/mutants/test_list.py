"""The list of planted mistakes fits the sources."""

import pytest

from tests.mutants.listed import LISTED, SURVIVORS
from tests.mutants.mutant import ROOT


@pytest.mark.parametrize("mutant", [*LISTED, *SURVIVORS], ids=lambda mutant: f"{mutant.file}:{mutant.new[:30]}")
def test_a_planted_mistake_fits_its_file(mutant):
    assert mutant.flaw() == ""
    files = [
        word.split("::")[0] for word in mutant.tests.split() if word.startswith(("tests/", "tinycnn/", "lessons/"))
    ]
    assert files and all((ROOT / file).exists() for file in files)


def test_no_mistake_is_listed_twice():
    assert len({mutant[:3] for mutant in LISTED}) == len(LISTED)
