"""The student's folder: complete, and empty of secrets."""

import tomllib

import pytest

from tests.assign.toy import MASTER, write
from tinycnn.assign.release import release, reset
from tinycnn.assign.task import AssignmentError, read


def test_a_released_folder_has_what_a_student_needs_and_nothing_else(toy, tmp_path):
    out = tmp_path / "student"
    written = release(toy, out)
    assert sorted(path.relative_to(out).as_posix() for path in written) == [
        "README.md",
        "original/toy.py",
        "public.py",
        "task.toml",
        "toy.py",
    ]
    text = "".join(path.read_text(encoding="utf-8") for path in written)
    assert "2 * np" not in text and "sums" not in text and "mutants" not in text
    readme = (out / "README.md").read_text(encoding="utf-8")
    assert (
        readme.startswith("# Toy\n") and "Hand in `toy.py` alone. It may import the standard library, numpy." in readme
    )
    assert "50 of 100 points; 40 more are in hidden tests, 10 are given by hand" in readme
    table = tomllib.loads((out / "task.toml").read_text(encoding="utf-8"))
    assert table["hidden_points"] == 40 and table["public"] == {"doubles": 50} and "hidden" not in table
    task = read(out)
    assert (task.name, task.number, task.hidden_points) == ("A99_toy", "A99", 40)


def test_a_folder_that_is_in_use_is_left_alone(toy, tmp_path):
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "mine.txt").write_text("x")
    with pytest.raises(AssignmentError, match="is there already"):
        release(toy, tmp_path / "student")


EARLY = "    if x is not None:\n        return np.asarray(x) + x\n    ### BEGIN SOLUTION\n    return 2 *"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"toy": MASTER.replace("### END SOLUTION", "", 1)}, "begins a solution inside"),
        ({"README": "Hint: weighted_rows = x @ weight"}, "README.md would show a line of the solution: 'weighted_rows"),
        ({"toy": MASTER + "\nimport no_such_package\n"}, "the stub of A94_bad does not work: toy.py cannot be"),
        (
            {"toy": MASTER.replace("    ### BEGIN SOLUTION\n    return 2 *", EARLY)},
            "has points for doubles, expected no",
        ),
    ],
)
def test_a_release_that_would_give_something_away_is_refused_whole(tmp_path, files, words):
    task = write(tmp_path / "A94_bad", **files)
    with pytest.raises(AssignmentError, match=words):
        release(task, tmp_path / "student")
    assert not (tmp_path / "student").exists()


def test_reset_puts_the_stub_back_and_keeps_what_was_there(toy, tmp_path):
    out = tmp_path / "student"
    release(toy, out)
    task = read(out)
    for number, text in enumerate(("mine", "mine, too"), 1):
        (out / "toy.py").write_text(text)
        assert reset(out, task) == out / f"toy.{number}.py"
        assert (out / f"toy.{number}.py").read_text() == text
        assert "NotImplementedError" in (out / "toy.py").read_text(encoding="utf-8")
    (out / "toy.py").unlink()
    assert reset(out, task) is None
    with pytest.raises(AssignmentError, match="not a folder that was released"):
        reset(toy.folder, toy)
