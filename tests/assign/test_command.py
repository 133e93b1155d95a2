"""``tinycnn assign``: from release to check to grade, and its messages when something is wrong."""

import csv
import json
import shutil
import zipfile
from pathlib import Path

import pytest

from tests.assign.toy import MASTER
from tinycnn.assign import sandbox
from tinycnn.assign.confine import PROTECTIONS
from tinycnn.cli import main


def run(*arguments):
    return main(["assign", *map(str, arguments)])


@pytest.fixture
def student(toy, tmp_path, capsys):
    assert run("release", toy.folder, tmp_path / "student") == 0
    capsys.readouterr()
    return tmp_path / "student"


def test_from_release_to_check_to_reset(toy, tmp_path, capsys):
    out = tmp_path / "student"
    assert run("release", toy.folder, out) == 0
    assert "passes none of 3 tests; no line of the solution shows" in capsys.readouterr().out
    assert run("check", out) == 1
    assert "double is not written yet" in capsys.readouterr().out
    (out / "toy.py").write_text(MASTER.replace("2 * np", "3 * np") + "\nprint('loaded')\n", encoding="utf-8")
    assert run("check", out) == 1
    said = capsys.readouterr().out
    assert "Likely cause: all values are 1.5 times" in said and "loaded" in said
    (out / "toy.py").write_text(MASTER, encoding="utf-8")
    assert run("check", out) == 0
    assert (
        "all PUBLIC tests passed, 50 of 100 points; 40 points are hidden, 10 are given by hand"
        in capsys.readouterr().out
    )
    assert run("reset", out) == 0
    assert "is the stub again; what was there is" in capsys.readouterr().out


def test_check_needs_no_master(student, toy, capsys):
    """Students have an installation without assignments: their folder is enough."""
    shutil.rmtree(toy.folder)
    shutil.copy(student / "toy.py", student / "toy.py.bak")
    (student / "toy.py").write_text(MASTER, encoding="utf-8")
    assert run("check", student) == 0


def test_grade_writes_all_formats_and_regrades_the_same(toy, tmp_path, capsys):
    for name, text in (("ada", MASTER), ("bob", MASTER.replace("2 * np", "3 * np")), ("eve", "def f(:")):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "toy.py").write_text(text, encoding="utf-8")
    formats = "json,gradescope,classroom50,csv,junit,html"
    options = ["--assignment", toy.folder, "--jobs", 2, "--format", formats]
    assert run("grade", tmp_path / "in", "--out", tmp_path / "out", *options) == 0
    said = capsys.readouterr().out
    assert "ada: 90 of 100" in said and "eve: 0 of 100" in said and "fill in the points of" in said
    names = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    each = {f"{kind}/{s}.json" for kind in ("results", "gradescope", "classroom50") for s in ("ada", "bob", "eve")}
    pages = {f"html/{s}.html" for s in ("ada", "bob", "eve")}
    tables = {"grades.json", "grades.csv", "grades.xml", "grades.html", "hand.csv", "secret"}
    assert names == each | pages | tables

    again = ["--assignment", toy.folder, "--secret", tmp_path / "out" / "secret", "--format", "json"]
    assert run("grade", tmp_path / "in", "--out", tmp_path / "again", *again) == 0
    one, other = (
        [{**r, "seconds": 0, "printed": ""} for r in json.loads((tmp_path / place / "grades.json").read_text("utf-8"))]
        for place in ("out", "again")
    )
    assert one == other

    hand = tmp_path / "out" / "hand.csv"
    hand.write_text(hand.read_text("utf-8").replace("ada,words,,", "ada,words,10,"), encoding="utf-8")
    assert run("grade", tmp_path / "in", "--out", tmp_path / "out", *options) == 0
    assert "3 of 3 are graded already" in capsys.readouterr().out
    with (tmp_path / "out" / "grades.csv").open(encoding="utf-8", newline="") as file:
        assert [row["score"] for row in csv.DictReader(file)] == ["100", "40", "0"]


def test_grade_has_status_1_if_a_submission_could_not_be_graded(toy, tmp_path, capsys, monkeypatch):
    def run_none(batch, jobs, report):
        batch.failures["ada"] = "the sandbox did not start"

    monkeypatch.setattr("tinycnn.assign.batch.Batch.run", run_none)
    (tmp_path / "in" / "ada").mkdir(parents=True)
    (tmp_path / "in" / "ada" / "toy.py").write_text(MASTER, encoding="utf-8")
    assert run("grade", tmp_path / "in", "--out", tmp_path / "out", "--assignment", toy.folder, "--format", "json") == 1
    assert "not graded: ada: the sandbox did not start" in capsys.readouterr().err


def test_pack_and_similarity(toy, tmp_path, capsys):
    assert run("pack", toy.folder, "--gradescope", tmp_path / "g.zip") == 0
    with zipfile.ZipFile(tmp_path / "g.zip") as archive:
        assert archive.testzip() is None
    assert (tmp_path / "g.secret").exists() and "0 wheels" in capsys.readouterr().out
    for name in ("ada", "bob"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "toy.py").write_text(MASTER, encoding="utf-8")
    assert run("similarity", tmp_path / "in", "--assignment", toy.folder) == 0
    assert "2 submissions; pairs that share at least 40 % beyond the stub: 1" in capsys.readouterr().out
    (tmp_path / "in" / "eve.zip").write_bytes(b"not a zip")
    assert run("similarity", tmp_path / "in", "--assignment", toy.folder) == 0
    said = capsys.readouterr().out
    assert "not compared: eve: " in said and "2 submissions; pairs" in said


def test_selftest_says_what_is_not_as_it_should_be(toy, capsys):
    path = toy.folder / "task.toml"
    path.write_text(
        path.read_text("utf-8").replace("loses = { doubles = 50 }", "loses = { doubles = 25 }"), encoding="utf-8"
    )
    assert run("selftest", toy.folder) == 1
    said = capsys.readouterr().out
    assert "loses { doubles = 50 }, expected { doubles = 25 }" in said
    assert "solution  1 of 1 as they should be" in said and "mutant    0 of 1 as they should be" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["release", "A99", "x"], "there is no assignment 'A99'; there are A01_geometry"),
        (["check", "nowhere"], "nowhere is not an assignment: there is no task.toml in it"),
        (["reset", "nowhere"], "nowhere is not an assignment"),
        (["grade", "nowhere", "--out", "out"], "nowhere: No such file or directory"),
        (["grade", "nowhere", "--out", "out", "--format", "jsn"], "unknown format 'jsn'; did you mean json?"),
        (["similarity", "nowhere", "--assignment", "A3"], "nowhere: No such file or directory"),
        (["pack", "A77", "--gradescope", "x.zip"], "there is no assignment 'A77'"),
        (
            ["pack", "A3", "--gradescope", "x.zip", "--wheels", "nowhere"],
            "--wheels nowhere: there is no wheel, expected",
        ),
        (["pack", "A3", "--gradescope", "no/such/folder/x.zip"], "there is no folder no/such/folder"),
    ],
)
def test_errors_are_one_clear_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 1
    err = capsys.readouterr().err
    assert err.startswith("tinycnn: error: ") and message in err and "Traceback" not in err


def test_jobs_must_be_a_whole_number(capsys):
    with pytest.raises(SystemExit, match="2"):
        run("grade", "x", "--out", "y", "--jobs", "0")
    assert "'0', expected a whole number of at least 1" in capsys.readouterr().err


def test_the_list_has_every_assignment_with_a_hundred_points(capsys):
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [f"A{n}" for n in range(1, 15)]
    for line in lines:
        public, _, hidden, _, _, by_hand, *_ = line.split()[1:]
        assert int(public) + int(hidden) + int(by_hand) == 100


def test_a_platform_that_protects_by_nothing_says_so(student, tmp_path, monkeypatch, capsys):
    """As on Windows: the child comes up, and nothing holds."""
    for name in ("child.py", "wire.py"):
        shutil.copy(Path(sandbox.__file__).with_name(name), tmp_path)
    (tmp_path / "confine.py").write_text("def confine(settings):\n    return []\n", encoding="utf-8")
    monkeypatch.setattr(sandbox, "_HERE", tmp_path)
    assert run("check", student) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.startswith("this platform cannot protect by ") for line in said] == [True] * len(PROTECTIONS)
