"""Files for Gradescope and Classroom 50, compared with the platforms' documentation."""

import json
import os
import subprocess
import sys
import zipfile

import pytest

from tests.assign.toy import MASTER, TASK, handed_in, stub, write
from tinycnn.assign.grading import Draw, grade
from tinycnn.assign.pack import pack
from tinycnn.assign.reports.platforms import classroom50, gradescope
from tinycnn.assign.submission import Submission
from tinycnn.assign.task import AssignmentError

DRAW = Draw(b"secret", "ada@example.org")
VISIBILITY = {"hidden", "after_due_date", "after_published", "visible"}
FORMATS = {"text", "html", "simple_format", "md", "ansi"}
NUMBER = (int, float)
# Gradescope, "Autograder Specifications", output format: https://gradescope-autograders.readthedocs.io/en/latest/specs/
TOP = {
    "score": NUMBER,
    "execution_time": NUMBER,
    "output": str,
    "output_format": FORMATS,
    "test_output_format": FORMATS,
    "test_name_format": FORMATS,
    "visibility": VISIBILITY,
    "stdout_visibility": VISIBILITY,
    "extra_data": dict,
    "tests": list,
    "leaderboard": list,
}
EACH = {
    "score": NUMBER,
    "max_score": NUMBER,
    "status": {"passed", "failed"},
    "name": str,
    "name_format": FORMATS,
    "number": str,
    "output": str,
    "output_format": FORMATS,
    "tags": list,
    "visibility": VISIBILITY,
    "extra_data": dict,
}
RANK = {"name": str, "value": (int, float, str), "order": {"asc", "desc"}}


def check(table, schema):
    for name, value in table.items():
        allowed = schema[name]
        assert value in allowed if isinstance(allowed, set) else isinstance(value, allowed), (name, value)


def check_gradescope(table):
    check(table, TOP)
    assert "score" in table or table["tests"]
    for test in table.get("tests", ()):
        check(test, EACH)
        assert type(test["score"]) is int and 0 <= test["score"] <= test["max_score"]
    for entry in table.get("leaderboard", ()):
        check(entry, RANK)
    assert "\r" not in json.dumps(table)


@pytest.mark.parametrize("text", [MASTER, MASTER.replace("2 * np", "3 * np"), "def f(:", "while True: pass"])
def test_gradescopes_results_follow_its_schema(toy, text):
    report = grade(toy, handed_in(text), DRAW)
    report.leaderboard = [{"name": "accuracy", "value": 0.9, "order": "desc"}]
    table = gradescope(report)
    check_gradescope(table)
    assert sum(test["score"] for test in table["tests"]) == report.score
    assert {test["name"].partition(":")[0]: test["visibility"] for test in table["tests"]} == {
        "doubles": "visible",
        "sums": "after_due_date",
    }


def test_nothing_handed_in_is_a_result_too(toy):
    table = gradescope(grade(toy, Submission("ada", None, ["there is no toy.py"]), DRAW))
    check_gradescope(table)
    assert "there is no toy.py" in table["output"]


def test_classroom50_has_whole_points_and_the_environments_names(toy, monkeypatch):
    monkeypatch.setenv("CLASSROOM", "cnn-101")
    monkeypatch.setenv("COMMIT_URL", "https://example.org/c")
    table = classroom50(grade(toy, stub(), DRAW))
    assert table["schema"] == "classroom50/result/v1" and table["classroom"] == "cnn-101"
    assert table["commit"] == "https://example.org/c"
    assert type(table["score"]) is int and table["max-score"] == 100
    needed = {
        "schema",
        "classroom",
        "assignment",
        "owner",
        "assignment_type",
        "submission",
        "commit",
        "release",
        "review",
    }
    assert needed | {"datetime", "score", "max-score", "tests"} <= table.keys()
    for test in table["tests"]:
        assert {"test-name", "passed", "score", "max-score"} <= test.keys() and type(test["passed"]) is bool
    assert sum(test["score"] for test in table["tests"]) == table["score"]


def installed(toy, tmp_path):
    """Return the zip, unpacked as Gradescope does it."""
    names = pack(toy, tmp_path / "grader.zip", b"a secret of the course")
    root = tmp_path / "autograder"
    with zipfile.ZipFile(tmp_path / "grader.zip") as archive:
        archive.extractall(root / "source")
        modes = {entry.filename: entry.external_attr >> 16 & 0o777 for entry in archive.infolist()}
    return names, modes, root


def test_the_pack_carries_the_grader_and_not_the_solution(toy, tmp_path):
    names, modes, root = installed(toy, tmp_path)
    assert {"setup.sh", "run_autograder", "requirements.txt", "secret"} <= set(names)
    assert modes["setup.sh"] == modes["run_autograder"] == 0o755 and modes["secret"] == 0o600
    for name in ("setup.sh", "run_autograder"):
        text = (root / "source" / name).read_bytes()
        assert text.startswith(b"#!/usr/bin/env bash\n") and b"\r" not in text
    assert "lib/tinycnn/assign/child.py" in names and "assignment/A99_toy/hidden.py" in names
    assert not any("lessons" in name or name.endswith("toy.py") for name in names)
    packed = "".join(path.read_text("utf-8") for path in (root / "source" / "assignment").rglob("*.py"))
    assert "2 * np.asarray(x)" not in packed


@pytest.mark.skipif(os.name != "posix", reason="Gradescope runs Linux")
@pytest.mark.parametrize(("files", "score"), [({"toy.py": MASTER}, 90), ({"work.py": MASTER}, 90), ({}, 0)])
def test_run_autograder_writes_results(toy, tmp_path, files, score):
    _, _, root = installed(toy, tmp_path)
    (root / "submission").mkdir()
    for name, text in files.items():
        (root / "submission" / name).write_text(text, encoding="utf-8")
    (root / "submission_metadata.json").write_text(json.dumps({"id": 1, "users": [{"email": "ada@example.org"}]}))
    env = {"PATH": os.environ["PATH"], "AUTOGRADER": str(root), "PYTHON": sys.executable}
    done = subprocess.run(
        ["bash", str(root / "source" / "run_autograder")], cwd=root, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    table = json.loads((root / "results" / "results.json").read_text(encoding="utf-8"))
    check_gradescope(table)
    assert sum(test["score"] for test in table["tests"]) == score


@pytest.mark.skipif(os.name != "posix", reason="Gradescope runs Linux")
def test_setup_is_valid_shell(toy, tmp_path):
    _, _, root = installed(toy, tmp_path)
    for name in ("setup.sh", "run_autograder"):
        assert subprocess.run(["bash", "-n", str(root / "source" / name)]).returncode == 0


def test_tests_that_could_outlast_gradescope_are_refused(tmp_path):
    slow = write(tmp_path / "A95_slow", task=TASK.replace("seconds = 1", "seconds = 200"))
    with pytest.raises(AssignmentError, match="may take 800 s, but Gradescope ends a submission after 600 s"):
        pack(slow, tmp_path / "x.zip", b"a secret of the course")


def test_the_packed_grader_grades_as_the_one_here(toy, tmp_path):
    """The same secret and student give the same inputs, so the same report."""
    wrong = MASTER.replace("return 2 * np.asarray(x)", "return 2 * x + 1")
    _, _, root = installed(toy, tmp_path)
    (root / "submission").mkdir()
    (root / "submission" / "toy.py").write_text(wrong, encoding="utf-8")
    (root / "submission_metadata.json").write_text(json.dumps({"users": [{"email": "ada@example.org"}]}))
    from tinycnn.assign import pack as module

    module.run(root)
    there = json.loads((root / "results" / "results.json").read_text(encoding="utf-8"))
    here = gradescope(grade(toy, handed_in(wrong), Draw(b"a secret of the course", "ada@example.org")))
    assert [test["output"] for test in there["tests"]] == [test["output"] for test in here["tests"]]
