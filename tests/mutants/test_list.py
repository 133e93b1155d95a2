"""The list of planted mistakes fits the sources."""

from tests.mutants.listed import LISTED, SURVIVORS
from tests.mutants.mutant import ROOT

ALL = (*LISTED, *SURVIVORS)


def test_every_planted_mistake_fits_its_file():
    assert [flaw for flaw in (mutant.flaw() for mutant in ALL) if flaw] == []


def test_the_tests_that_must_notice_a_mistake_exist():
    for mutant in ALL:
        words = [word.split("::")[0] for word in mutant.tests.split()]
        files = [word for word in words if word.startswith(("tests/", "tinycnn/", "lessons/"))]
        assert files and all((ROOT / file).exists() for file in files), mutant


def test_no_mistake_is_listed_twice():
    assert len({mutant[:3] for mutant in ALL}) == len(ALL)
