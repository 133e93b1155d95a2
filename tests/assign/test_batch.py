"""Grading of a folder of submissions: all graded, none twice, and no file stops the others."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.assign.toy import MASTER, write
from tinycnn.assign import batch, reports
from tinycnn.assign.batch import Batch, secret_of, warm
from tinycnn.assign.grading import Report
from tinycnn.assign.reports import page, tables
from tinycnn.assign.sandbox import GraderError
from tinycnn.assign.task import AssignmentError

SECRET = b"0123456789abcdef"
CLASS = {
    "ada": MASTER,
    "bob": MASTER.replace("2 * np", "3 * np"),
    "=cmd": MASTER,
    "<b>dan": "import os; os._exit(0)",
    "eve": "def f(:",
    "fay": MASTER.replace("return 2 * np.asarray(x)", "while True: pass"),
}
RANKED = ("name", "value", "order")
SCORES = {"ada": 90, "bob": 40, "=cmd": 90, "<b>dan": 0, "eve": 0, "fay": 40}


@pytest.fixture
def folder(tmp_path):
    for name, text in CLASS.items():
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "toy.py").write_text(text, encoding="utf-8")
    return tmp_path / "in"


def run(toy, folder, out, jobs=2):
    said = []
    job = Batch(toy, folder, out, SECRET)
    job.run(jobs, said.append)
    return job, said


def test_everybody_is_graded_whatever_the_others_do_and_only_once(toy, folder, tmp_path):
    job, said = run(toy, folder, tmp_path / "out")
    assert {name: report.score for name, report in job.reports.items()} == SCORES and not job.failures
    assert len(said) == len(CLASS)
    again, said = run(toy, folder, tmp_path / "out")
    assert said == ["6 of 6 are graded already"] and again.reports == job.reports
    (folder / "bob" / "toy.py").write_text(MASTER, encoding="utf-8")
    third, said = run(toy, folder, tmp_path / "out")
    assert third.reports["bob"].score == 90 and len(said) == 2

    written = reports.write(list(reports.FORMATS), toy, list(third.reports.values()), tmp_path / "out")
    assert all(path.exists() for path in written)
    with (tmp_path / "out" / "grades.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert rows["'=cmd"]["score"] == "90" and rows["eve"]["doubles"] == "0"  # no spreadsheet runs a name
    suites = ElementTree.parse(tmp_path / "out" / "grades.xml").getroot()
    assert {suite.get("name"): suite.get("failures") for suite in suites}["eve"] == "3"
    page = (tmp_path / "out" / "grades.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;dan" in page and "<b>dan" not in page and "http" not in page
    assert len(json.loads((tmp_path / "out" / "grades.json").read_text(encoding="utf-8"))) == 6


HALF_A_CHARACTER = """
    raise ValueError("\\ud800 \\x00 \\x1b[31m")
"""
TAKES_THE_CHILD_OVER = """
import sys
sys.modules["__main__"]._answer = lambda *_: {"error": "X" * 10**6, "text": "y" * 10**6, "line": 1}
"""


def test_names_and_texts_that_no_file_could_hold_stop_nobody(toy, tmp_path):
    texts = {
        "ada": MASTER.replace("    return 2 * np.asarray(x)\n", HALF_A_CHARACTER).replace(
            "because it is so", "\\udfff"
        ),
        "bob": MASTER + TAKES_THE_CHILD_OVER,
        "n" * 250: MASTER,
        "\u00e9" * 120: MASTER,
        "bad\udcffname": MASTER,
    }
    for name, text in texts.items():
        try:
            (tmp_path / "in" / name).mkdir(parents=True)
        except (OSError, UnicodeError):  # a system without such names
            continue
        (tmp_path / "in" / name / "toy.py").write_text(text, encoding="utf-8")
    job, said = run(toy, tmp_path / "in", tmp_path / "out")
    assert not job.failures and [line.encode() for line in said]
    assert all(report.score == {"ada": 40, "bob": 0}.get(name, 90) for name, report in job.reports.items())
    written = reports.write(list(reports.FORMATS), toy, list(job.reports.values()), tmp_path / "out")
    assert all(path.exists() for path in written) and tables.write_hand(toy, list(job.reports.values()), tmp_path)
    assert all(len(result.text) < 5000 for report in job.reports.values() for result in report.results)
    again, said = run(toy, tmp_path / "in", tmp_path / "out")
    assert again.reports == job.reports and len(said) == 1


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_text_of_a_student_is_a_formula_in_a_spreadsheet(start, toy, tmp_path):
    report = Report("A99_toy", "toy", f"{start}SUM(A1)", [])
    (path,) = tables.write_csv(toy, [report], tmp_path)
    assert f"'{start}SUM".encode() in path.read_bytes()


def test_points_that_a_person_gives_are_not_automatic(toy):
    assert sum(test.points for test in toy.tests) == 100 and toy.automatic_points == 90


def test_the_leaderboard_has_the_best_first(toy, tmp_path):
    def report(student, accuracy, size):
        entries = [("accuracy", accuracy, "desc"), ("parameters", size, "asc")]
        return Report("A99_toy", "toy", student, [], leaderboard=[dict(zip(RANKED, entry)) for entry in entries])

    everybody = [
        report("ada", 0.9, 700),
        report("bob", 0.95, 900),
        report("<eve>", 0.95, 800),
        Report("", "", "dan", []),
    ]
    page.write_html(toy, everybody, tmp_path)
    table = (tmp_path / "grades.html").read_text(encoding="utf-8").partition("Leaderboard")[2]
    assert table.index("&lt;eve&gt;") < table.index("bob") < table.index("ada") and "dan" not in table


def test_a_grader_killed_half_way_goes_on_where_it_was(toy, tmp_path):
    for number in range(6):
        place = tmp_path / "in" / f"s{number}"
        place.mkdir(parents=True)
        (place / "toy.py").write_text(
            f"import time; time.sleep({0.1 if number < 3 else 5})\n{MASTER}", encoding="utf-8"
        )
    code = (
        "import sys; from pathlib import Path\n"
        "from tinycnn.assign.batch import Batch; from tinycnn.assign.task import read\n"
        "Batch(read(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]), b'0123456789abcdef').run(1)"
    )
    command = [sys.executable, "-c", code, str(toy.folder), str(tmp_path / "in"), str(tmp_path / "out")]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True)
    lines = [process.stdout.readline() for _ in range(2)]
    process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
    process.wait()
    process.stdout.close()
    time.sleep(0.1)
    done = {path.stem: path.read_bytes() for path in (tmp_path / "out" / "results").glob("*.json")}
    assert 2 <= len(done) < 6 and lines[1].startswith("[2/6]")
    job, said = run(toy, tmp_path / "in", tmp_path / "out", 1)
    assert said[0] == f"{len(done)} of 6 are graded already" and len(job.reports) == 6
    assert all((tmp_path / "out" / "results" / f"{name}.json").read_bytes() == data for name, data in done.items())


def test_a_worker_that_is_killed_costs_nobody_else_anything(toy, folder, tmp_path, monkeypatch):
    shutil.rmtree(folder / "fay")
    asked = []
    original = batch._Worker._ask

    def ask(worker, request):
        asked.append(request["student"])
        if request["student"] == "bob" and worker.process:
            worker.process.kill()
        return original(worker, request)

    monkeypatch.setattr(batch._Worker, "_ask", ask)
    job, _ = run(toy, folder, tmp_path / "out", 1)
    assert {name: report.score for name, report in job.reports.items()} == {k: SCORES[k] for k in SCORES if k != "fay"}
    assert asked.count("bob") >= 1

    monkeypatch.setattr(batch._Worker, "_ask", lambda worker, request: None)
    (tmp_path / "out2").mkdir()
    job, _ = run(toy, folder, tmp_path / "out2", 1)
    assert all(report.score == 0 and "a teacher should look" in report.notes[0] for report in job.reports.values())


def test_points_given_by_hand_are_filled_in_and_stay(toy, folder, tmp_path):
    for name in CLASS.keys() - {"ada", "=cmd"}:
        shutil.rmtree(folder / name)
    job, _ = run(toy, folder, tmp_path / "out")
    graded = list(job.reports.values())
    path = tables.write_hand(toy, graded, tmp_path / "out")
    text = path.read_text(encoding="utf-8")
    assert "ada,words,,10,because it is so" in text
    path.write_text(
        text.replace("ada,words,,", "ada,words,7,").replace("'=cmd,words,,", "'=cmd,words,3,"), encoding="utf-8"
    )
    tables.give_by_hand(toy, graded, tmp_path / "out")
    assert {report.student: report.score for report in graded} == {"ada": 97, "=cmd": 93}
    tables.write_hand(toy, graded, tmp_path / "out")
    assert "ada,words,7,10" in path.read_text(encoding="utf-8")
    path.write_text(text.replace("ada,words,,", "ada,words,11,"), encoding="utf-8")
    with pytest.raises(ValueError, match="ada has '11' points, expected a whole number to 10"):
        tables.give_by_hand(toy, graded, tmp_path / "out")


def test_the_secret_is_made_once_private_and_long(tmp_path):
    path = tmp_path / "new" / "secret"
    secret = secret_of(path)
    assert len(secret) == 64 and secret_of(path) == secret
    if os.name == "posix":
        assert path.stat().st_mode & 0o077 == 0
    path.write_text("short")
    with pytest.raises(AssignmentError, match="at least 16"):
        secret_of(path)


def test_a_grader_whose_solution_fails_does_not_grade(tmp_path):
    broken = write(tmp_path / "A96_broken", toy=MASTER.replace("2 * np.asarray(x)", "3 * np.asarray(x)"))
    with pytest.raises(GraderError, match="the solution itself has only 40 points here: doubles"):
        warm(broken, tmp_path)


def test_the_assignment_is_known_by_the_files_name(toy, folder, monkeypatch):
    monkeypatch.setattr(batch, "tasks", lambda: [toy])
    assert batch.guess_task(folder) is toy
    monkeypatch.setattr(batch, "tasks", lambda: [toy, toy])
    with pytest.raises(AssignmentError, match="files of A99, A99 are in"):
        batch.guess_task(folder)
    monkeypatch.setattr(batch, "tasks", lambda: [toy])
    for name in CLASS:
        (folder / name / "toy.py").rename(folder / name / "other.py")
    with pytest.raises(AssignmentError, match="say which assignment it is by --assignment"):
        batch.guess_task(folder)
