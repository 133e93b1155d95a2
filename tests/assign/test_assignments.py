"""The assignments themselves: complete, alone, without leaks; and the grader gives their known grades."""

import ast
import re

import pytest

from tinycnn.assign import attacks, master, sandbox, selftest
from tinycnn.assign.grading import Draw, grade
from tinycnn.assign.release import student_files
from tinycnn.assign.sandbox import Sandbox
from tinycnn.assign.submission import read as read_submission
from tinycnn.assign.task import Task, catalogue, find, tasks
from tinycnn.lesson.source import find as find_lesson

ALL = tasks()
EACH = pytest.mark.parametrize("task", ALL, ids=lambda task: task.number)


def graded(task):
    return pytest.param(task, id=task.number, marks=[] if task.number in selftest.FAST else [pytest.mark.slow])


@pytest.mark.parametrize("task", [graded(task) for task in ALL])
def test_everything_gets_what_it_should(task: Task):
    """As ``tinycnn assign selftest --fast``; pytest -m slow has the assignments that compile and train."""
    rows = list(selftest.rows(task, slow=False))
    assert [f"{row.name}: {row.score} of {row.expected} {row.remark}" for row in rows if not row.good] == []
    attacked = {"attack", "after"} if task.number in selftest.HOSTILE else set()
    assert {row.kind for row in rows} == {"solution", "stub", "mutant", *attacked}


@EACH
def test_it_is_written_as_assignments_are(task: Task):
    readme = (task.folder / "README.md").read_text(encoding="utf-8")
    assert readme.startswith(f"# {task.number} · ") and f"`{task.file}`" in readme
    assert len(task.mutants) >= 3 and all(mutant.loses for mutant in task.mutants)
    assert len({mutant.name for mutant in task.mutants}) == len(task.mutants)
    assert task.of_kind("public") and task.of_kind("hidden")
    assert all(test.title != test.name for test in task.tests if test.kind != "manual")
    if task.lesson:
        find_lesson(task.lesson)
    known = {test.name: test.points for test in task.tests}
    for mutant in task.mutants:
        assert all(0 < lost <= known[test] for test, lost in mutant.loses.items())
        master.mutated(task.master.read_text(encoding="utf-8"), mutant)


@EACH
def test_what_students_get_has_no_line_of_the_solution(task: Task):
    files = student_files(task)
    text = task.master.read_text(encoding="utf-8")
    assert len(master.secret_lines(text)) >= 5
    assert master.leaks(text, task.file, files) == []
    assert len(master.leaks(text, task.file, {"copy.py": text.replace("\n", "\n# ")})) == len(master.secret_lines(text))
    ast.parse(files[task.file])
    assert "hidden.py" not in files


@EACH
def test_it_stands_alone(task: Task):
    others = {other.master.stem for other in ALL} | {"solution", "hidden"}
    for path in task.folder.glob("*.py"):
        imported = re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(encoding="utf-8"), re.M)
        assert not others & set(imported), path
    used = {"numpy", "math", "heapq", "struct", *task.packages}
    assert set(re.findall(r"^(?:from|import) (\w+)", task.master.read_text(encoding="utf-8"), re.M)) <= used


def test_files_have_names_of_their_own():
    """The name of a file identifies its assignment in a folder of submissions."""
    assert len({task.file for task in ALL}) == len(ALL) == 14


def test_an_assignment_is_found_by_number_and_name():
    assert find("A3").name == find("3").name == find("a03").name == find("convolution").name == "A03_convolution"


def test_attacks_bite_where_nothing_protects(tmp_path, monkeypatch):
    """With all files readable, and for inputs seen before, attacks get points: the suite tests something."""
    task = find("A3")
    neighbour = tmp_path / "tinycnn-neighbour" / "home"
    neighbour.mkdir(parents=True)
    (neighbour / task.file).write_bytes(task.master.read_bytes())
    text = (catalogue() / "attacks" / "read_the_reference.py").read_text(encoding="utf-8")
    thief = tmp_path / "thief"
    thief.mkdir()
    (thief / task.file).write_text(
        text.replace('"/tmp/tinycnn-*/home/', f'"{tmp_path}/tinycnn-*/home/'), encoding="utf-8"
    )
    monkeypatch.setattr(sandbox, "_readable", lambda: ("/",))
    assert grade(task, read_submission(thief, task), selftest.DRAW).score == 100
    monkeypatch.undo()
    report = grade(task, read_submission(thief, task), selftest.DRAW)
    assert report.score == 0 or "files" not in report.protections

    (tmp_path / "heart").mkdir()
    names = {attack.name: attack.path for attack in attacks.by_heart(task, tmp_path / "heart")}
    learned = read_submission(names["answers of another student"], task)
    assert grade(task, learned, Draw(b"selftest", "another")).score == 100
    assert grade(task, learned, selftest.DRAW).score == 0


def test_a_framework_without_its_models_is_what_an_assignment_on_models_gets(tmp_path):
    task = find("A9")
    code = (
        "import numpy as np, tinycnn\nfrom tinycnn import nn\n"
        "def size(): return sum(p.size for p in nn.Linear(3, 4).parameters())\n"
        "def cheat(): return tinycnn.models.resnet20()\n"
        "def cheat_again():\n    from tinycnn.models import resnet20\n    return resnet20()\n"
        "def cheat_differently():\n    import tinycnn.lessons, tinycnn.assign\n"
    )
    with Sandbox(task, code.encode()) as child:
        assert child.ask("size") == 16
        for name in ("cheat", "cheat_again", "cheat_differently"):
            with pytest.raises(sandbox.StudentError) as caught:
                child.ask(name)
            assert caught.value.kind in ("ImportError", "ModuleNotFoundError")
