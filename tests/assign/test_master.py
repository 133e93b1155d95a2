"""Masters: markers become stubs, mutants, and lines that are kept secret."""

import pytest

from tests.assign.toy import MASTER
from tinycnn.assign import master
from tinycnn.assign.task import AssignmentError, Mutant

FAULTY = """
def largest(x):
    ### BEGIN SOLUTION
    return max(x)
    ### INSTEAD
    # if x:
    #     return min(x)
    ### END SOLUTION


### BEGIN SOLUTION
def helper_of_the_solution():
    return 1
### END SOLUTION
"""


def test_a_solution_becomes_a_reminder_with_its_indentation():
    text = master.stub(MASTER)
    assert text.count("    # YOUR CODE HERE\n    raise NotImplementedError()") == 3
    assert "2 * np" not in text and "SOLUTION" not in text
    names: dict = {}
    exec(compile(text, "stub", "exec"), names)
    with pytest.raises(NotImplementedError):
        names["double"](1)


def test_what_stands_after_instead_takes_the_solutions_place_and_helpers_leave_nothing_behind():
    text = master.stub(FAULTY)
    names: dict = {}
    exec(compile(text, "stub", "exec"), names)
    assert names["largest"]([3, 1, 2]) == 1 and "helper_of_the_solution" not in names


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1", "there is no BEGIN SOLUTION"),
        ("### BEGIN SOLUTION\nx = 1", "line 1 has no END SOLUTION"),
        ("### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION", "line 2 begins a solution inside that of line 1"),
        ("### END SOLUTION", "line 1 has END SOLUTION without BEGIN"),
        ("### INSTEAD", "line 1 has INSTEAD without BEGIN"),
    ],
)
def test_unbalanced_markers_are_refused_with_their_line(text, words):
    with pytest.raises(AssignmentError, match=words):
        master.stub(text)


def test_any_comment_is_a_marker_as_in_nbgrader():
    assert "return 1" not in master.stub("def f():\n    # BEGIN SOLUTION\n    return 1 + 1\n    # END SOLUTION")


def test_secret_lines_are_those_that_say_something_and_stand_nowhere_else():
    assert master.secret_lines(MASTER) == {
        "return 2 * np.asarray(x)",
        "weighted_rows = x @ weight",
        "return weighted_rows",
        'return "because it is so"',
    }
    shown = MASTER.replace('"""Two functions."""', "weighted_rows = x @ weight")
    assert "weighted_rows = x @ weight" not in master.secret_lines(shown)
    short = MASTER.replace("return 2 * np.asarray(x)", "return 2 * x").replace("return weighted_rows", "return w")
    assert "return 2 * x" in master.secret_lines(short) and "return w" not in master.secret_lines(short)


def test_a_mutant_replaces_one_passage_that_is_there_once():
    mutant = Mutant("m", "2 * np", "3 * np", {})
    assert "return 3 * np.asarray(x)" in master.mutated(MASTER, mutant)
    for find, replace in (("not there", "x"), ("return", "x"), ("2 * np", "2 * np")):
        with pytest.raises(AssignmentError, match="expected once"):
            master.mutated(MASTER, Mutant("m", find, replace, {}))
