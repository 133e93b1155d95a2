"""Points and feedback: the points of each kind of answer, and the messages to students."""

import pytest

from tests.assign.toy import MASTER, PUBLIC, TASK, handed_in, solution, stub, write
from tinycnn.assign.grading import PUBLIC as AT_HOME
from tinycnn.assign.grading import Draw, Report, digest_of, grade
from tinycnn.assign.reports.text import feedback, lines, verdict
from tinycnn.assign.submission import Submission
from tinycnn.assign.task import AssignmentError, read

DRAW = Draw(b"secret", "ada")


def result(report, name):
    return next(one for one in report.results if one.name == name)


def graded(task, text):
    return grade(task, handed_in(text), DRAW)


def test_the_solution_has_all_points_that_are_not_given_by_hand(toy):
    report = grade(toy, solution(), DRAW)
    assert (report.score, report.points, report.lost(), report.notes) == (90, 100, {}, [])
    assert result(report, "words").text == "because it is so"


def test_the_stub_has_none_and_is_told_that_nothing_is_written(toy):
    report = grade(toy, stub(), DRAW)
    assert report.score == 0 and "double is not written yet (line 9" in result(report, "doubles").text


def test_a_public_failure_shows_call_shapes_place_and_both_values(toy):
    wrong = MASTER.replace("return 2 * np.asarray(x)", "x = 2 * x\n    x[1, 2] += 1\n    return x")
    text = result(graded(toy, wrong), "doubles").text
    assert "double(array (3, 4) float64) returned array (3, 4) float64; it differs first at [1, 2]: yours" in text
    assert "expected" in text and "8 % of 12 differ" in text and "0 of 2 parts right" in text


def test_a_hidden_failure_shows_no_inputs_and_no_values(toy):
    report = graded(toy, MASTER.replace("return weighted_rows", "return weighted_rows + 1"))
    assert result(report, "sums").text == "total returned other values (100 % of them)"
    assert result(report, "sums").hint == "all values are off by 1"
    assert "a hidden test" in feedback(result(report, "sums"))[0]


def test_an_error_in_a_hidden_test_cannot_carry_inputs_out(toy):
    spy = MASTER.replace("weighted_rows = x @ weight", "raise ValueError(repr(x))")
    assert result(graded(toy, spy), "sums").text == "total raised ValueError (line 16 of your file)"
    named = MASTER.replace("weighted_rows = x @ weight", "raise type(str(x.sum()), (Exception,), {})()")
    assert result(graded(toy, named), "sums").text == "total raised an error (line 16 of your file)"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("None", "returned None, expected an array of numbers"),
        ("x[0]", "returned array (4,) float64, expected shape (3, 4)"),
        ("x * np.nan", "yours nan, expected"),
        ("'text'", "returned 'text', expected an array of numbers"),
        ("x > 0", "returned array (3, 4) bool, expected an array of numbers"),
        ("[[1.0]]", "returned [[1.0]], expected an array of numbers"),
        ("x.nothing", "raised AttributeError: 'numpy.ndarray' object has no attribute 'nothing' (line 9 of your file)"),
    ],
)
def test_what_else_can_come_back_is_described(toy, value, text):
    report = graded(toy, MASTER.replace("2 * np.asarray(x)", value))
    assert text in result(report, "doubles").text and report.score == 40


def test_the_hint_names_a_typical_mistake(toy):
    report = graded(toy, MASTER.replace("2 * np.asarray(x)", "x"))
    assert result(report, "doubles").hint == "x unchanged"
    report = graded(toy, MASTER.replace("return 2 * np.asarray(x)", "x *= 2\n    return x"))
    assert result(report, "doubles").hint.startswith("mutated input")
    report = graded(toy, MASTER.replace("import numpy as np", "import numpy as np\nimport scipy"))
    assert "scipy" in report.notes[0] and "the standard library, numpy" in report.notes[1]


def test_parts_share_the_points_of_a_test_and_go_on_after_a_failure(tmp_path):
    public = PUBLIC.replace("range(2)", "range(3)").replace("2 * x, {", "(2 if _ else 3) * x, {")
    report = grade(write(tmp_path / "A98_parts", public=public), solution(), DRAW)
    assert result(report, "doubles").score == 33  # rounded down: whole points
    assert "2 of 3 parts right" in result(report, "doubles").text


def test_a_failure_outside_of_the_parts_takes_all_points(tmp_path):
    public = PUBLIC + '        check.true(_ == 0, "the second round fails")\n'
    report = graded(write(tmp_path / "A97_early", public=public), MASTER)
    assert (result(report, "doubles").score, result(report, "sums").score) == (0, 40)


def test_a_test_has_its_own_seconds(tmp_path):
    slow = TASK.replace("seconds = 1", "seconds = 20") + "\n[slow]\ndoubles = 0.5\n"
    report = graded(
        write(tmp_path / "A96_slow", task=slow), MASTER.replace("return 2 * np.asarray(x)", "while True: pass")
    )
    assert "did not end within 0.5 seconds" in result(report, "doubles").text and report.score == 40


def test_one_function_that_hangs_or_dies_costs_its_own_test_only(toy):
    for fault in ("while True: pass", "import os; os._exit(0)"):
        report = graded(toy, MASTER.replace("return 2 * np.asarray(x)", fault))
        assert report.lost() == {"doubles": 50}


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("def f(:\n", "raised SyntaxError: invalid syntax (line 1"),
        ("def f():\n\treturn 1\n        return 2\n", "raised TabError"),
        ("print('hello'\n", "raised SyntaxError: '(' was never closed (line 1"),
        ("raise SystemExit(0)", "raised SystemExit"),
        ("import os; os._exit(0)", "ended itself (exit status 0)"),
        ("x = undefined", "raised NameError: name 'undefined' is not defined (line 1"),
    ],
)
def test_a_file_that_cannot_be_imported_says_why(toy, text, note):
    report = graded(toy, text)
    assert report.score == 0 and "toy.py cannot be imported" in report.notes[0] and note in report.notes[0]


def test_a_wrong_encoding_says_so(toy):
    report = grade(toy, Submission("ada", "x = 'très'".encode("latin-1")), DRAW)
    assert "utf-8" in report.notes[0]


def test_a_missing_function_costs_its_test_and_is_named_with_its_neighbour(toy):
    report = graded(toy, MASTER.replace("def double(", "def doubel("))
    assert report.lost() == {"doubles": 50}
    assert "there is no function double in toy.py; did you mean doubel" in result(report, "doubles").text


def test_inputs_are_the_same_again_and_others_for_others():
    def first(secret, student, assignment="A1", test="t"):
        return Draw(secret, student).rng(assignment, test).normal()

    one = first(b"s", "ada")
    assert one == first(b"s", "ada")
    others = [first(b"z", "ada"), first(b"s", "bob"), first(b"s", "ada", "A2"), first(b"s", "ada", test="u")]
    assert len({one, *others}) == 5


def test_the_digest_follows_all_that_decides_a_grade(toy):
    digests = {
        digest_of(toy, solution(), DRAW),
        digest_of(toy, stub(), DRAW),
        digest_of(toy, solution(), Draw(b"other", "ada")),
        digest_of(toy, Submission("ada", None, ["nothing"]), DRAW),
    }
    (toy.folder / "public.py").write_text(PUBLIC + "\n", encoding="utf-8")
    digests.add(digest_of(read(toy.folder), solution(), DRAW))
    assert len(digests) == 5


def test_a_report_comes_back_from_json(toy):
    report = grade(toy, solution(), DRAW)
    assert Report.from_json(report.to_json()) == report


def test_the_verdict_says_public_and_what_is_hidden(toy):
    full = verdict(grade(toy, solution(), AT_HOME), toy)
    assert full == "all PUBLIC tests passed, 50 of 100 points; 40 points are hidden, 10 are given by hand"
    none = verdict(grade(toy, stub(), AT_HOME), toy)
    assert none == "0 of 50 PUBLIC points so far, of 100 in all; 40 points are hidden, 10 are given by hand"
    assert any(line.startswith("no     0/50  doubles") for line in lines(grade(toy, stub(), AT_HOME)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("doubles = 50", "doubles = 49"), "99 points with 40 hidden, expected 100"),
        (("doubles = 50\n\n[hidden]\nsums = 40", "doubles = 40\n\n[hidden]\nsums = 50"), "at most 40 hidden"),
        (("doubles = 50", "doubles = 50.0"), "expected a whole number"),
        (("words = 10", "doubles = 10"), "two tests have the same name"),
        (("doubles = 50", "dubbles = 50"), "differ in doubles, dubbles"),
        (('file = "toy.py"', ""), "file"),
        (("seconds = 1", "secnds = 1"), "secnds"),
        (("[public]", "[public"), "task.toml"),
    ],
)
def test_a_task_that_does_not_add_up_is_refused(tmp_path, change, words):
    with pytest.raises(AssignmentError, match=words):
        write(tmp_path / "A97_bad", task=TASK.replace(*change))


def test_feedback_is_finite_for_any_array(toy):
    for value in (
        "np.full((3, 4), np.inf)",
        "np.zeros((0, 4))",
        "np.array(1.0)",
        "x.astype(np.float16)",
        "np.zeros(3, int)",
    ):
        report = graded(toy, MASTER.replace("2 * np.asarray(x)", value))
        wrong = [result for result in report.results if not result.passed]
        assert 0 <= report.score < report.points and wrong
        assert all(result.text for result in wrong) and all("nan" not in result.hint for result in wrong)
