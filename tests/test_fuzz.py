"""Random calls of public names end in results or readable errors; ``python -m tests.fuzz`` makes more of them."""

import os

import pytest

from tests import fuzz


def test_three_hundred_calls_end_in_results_or_readable_errors():
    report = fuzz.fuzz(300, seed=5)
    assert not report.findings, "\n".join(f"{kind}\n    {line}" for kind, line in report.findings.items())
    assert sum(report.outcomes.values()) == 300
    assert report.outcomes["result"] >= 60 and report.outcomes["error"] >= 60


@pytest.mark.parametrize(
    ("statement", "readable"),
    [
        ("raise ValueError('conv2d: groups is 3, expected 1')", True),
        ("raise TypeError('f() takes 1 positional argument but 2 were given')", True),
        ("None.shape", False),
        ("1 + None", False),
        ("float([])", False),
        ("raise OverflowError('conv2d: int too large')", False),
    ],
)
def test_errors_of_the_inside_are_told_from_those_for_the_caller(statement, readable):
    with pytest.raises(Exception) as found:
        exec(compile(statement, os.path.join(os.sep, "tinycnn", "inside.py"), "exec"))
    assert fuzz.is_readable(found.value) == readable
