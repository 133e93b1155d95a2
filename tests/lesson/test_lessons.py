"""Every lesson in ``lessons/``: it runs, its claims hold, it has figures, and both languages correspond.

The tests find a new lesson by themselves.
"""

import ast
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinycnn.lesson.execute import Recording
from tinycnn.lesson.notebook import to_notebook
from tinycnn.lesson.page import index_page, lesson_page
from tinycnn.lesson.report import Claim, Picture
from tinycnn.lesson.source import LANGUAGES, folder, lessons, parse

LONGEST = 165  # lines that are not empty
SLOWEST = {"09": 600, "10": 600}  # the depth sweeps; all others 60 s
ROOT = Path(__file__).parents[2]
PATHS = sorted(folder().glob("[0-9][0-9]_*.py"))
EACH = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)

CHILD = """
import runpy, socket, sys

def refuse(*_, **__):
    raise PermissionError("lessons run without a network")

def connect(self, address, *_):
    if self.family == getattr(socket, "AF_UNIX", None) or address[0] in ("127.0.0.1", "::1", "localhost"):
        return real(self, address)  # processes on this machine may talk
    refuse()

real = socket.socket.connect
socket.socket.connect = socket.socket.connect_ex = connect
socket.getaddrinfo = refuse
sys.argv = sys.argv[1:]
runpy.run_module("tinycnn.lesson.execute", run_name="__main__")
"""


def calls(path, name):
    """Return the calls of a function in a lesson."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == name]


@EACH
def test_it_runs_in_fast_mode_and_its_outputs_become_a_notebook_and_pages(path, tmp_path):
    from PIL import Image

    out = tmp_path / "out.json"
    env = {**os.environ, "TINYCNN_LESSON": "fast", "MPLBACKEND": "Agg"}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-W", "error", "-c", CHILD, "execute", str(path), str(out)]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert {file.name for file in tmp_path.iterdir()} <= {"out.json", "runs"}, "it writes outside of runs/"

    recording = Recording.load(out)
    pictures = [output for output in recording.outputs if isinstance(output, Picture)]
    claims = [output for output in recording.outputs if isinstance(output, Claim)]
    assert len(pictures) >= 1 and len(claims) >= len(calls(path, "check")) >= 2
    for picture in pictures:
        pixels = np.asarray(Image.open(io.BytesIO(picture.png)).convert("L"))
        assert min(pixels.shape) > 150 and 0.002 < (pixels < 200).mean() < 0.98, f"blank: {picture.caption}"

    for language in LANGUAGES:
        lesson = parse(path).in_language(language)
        notebook = json.loads(json.dumps(to_notebook(lesson, recording)))
        code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
        assert code == [cell.source for cell in parse(path).code]
        shown = [o for cell in notebook["cells"] for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
        assert len(shown) == len(pictures)

        page = lesson_page(lesson, recording, [each.in_language(language) for each in lessons()], language, LANGUAGES)
        assert page.count("<figure>") == len(pictures) and page.count("data:image/png;base64,") == len(pictures)
        assert not re.search(
            r'(?:src|href)="(?!data:|[\w.]+\.html"|https://)|src="http|<script|<link|@import|url\(', page
        )
        for claim in claims:
            assert lesson.words.get(claim.text, claim.text)[:12].replace("<", "&lt;") in page


@EACH
def test_it_is_written_as_lessons_are(path):
    lesson = parse(path)
    text = path.read_text(encoding="utf-8")
    prose = "\n".join(cell.source for cell in lesson.cells if cell.kind == "markdown")
    assert re.fullmatch(r"\d\d_[a-z0-9_]+", lesson.name)
    assert lesson.cells[0].source.startswith(f"# {lesson.number} · ")
    assert lesson.seconds <= SLOWEST.get(lesson.number, 60)
    assert sum(bool(line.strip()) for line in text.splitlines()) <= LONGEST
    assert re.search(r"^> ", prose, re.M), "no question to predict"
    exercises = lesson.cells[-1].source.partition("## Exercises")[2]
    assert re.findall(r"^(\d)\. ", exercises, re.M) == ["1", "2", "3"]
    assert all(ord(letter) < 128 for cell in lesson.code for letter in cell.source), (
        "code that not every terminal prints"
    )
    assert "__main__" not in text


@EACH
def test_cells_in_order_are_the_script(path):
    """A notebook runs the same code as ``python lessons/NN_name.py``."""
    cells = "\n\n".join(cell.source for cell in parse(path).code)
    assert ast.dump(ast.parse(cells)) == ast.dump(ast.parse(path.read_text(encoding="utf-8")))


@EACH
def test_both_languages_say_the_same_things(path):
    english, chinese = (parse(path).in_language(language) for language in LANGUAGES)
    assert english.code == chinese.code
    for one, other in zip(english.cells, chinese.cells, strict=True):
        if one.kind == "markdown":
            for what in (r"^(#+) ", r"^(>) \S", r"^(\d)\. ", r"^(\$\$.*)$", r"(?<!`)`([^`]+)`"):
                found, expected = (re.findall(what, re.sub(r"\n> (?!\n)", "\n", c.source), re.M) for c in (other, one))
                assert found == expected or set(found) >= set(expected), f"cell at line {one.line}: {what}"
            assert re.search(r"[\u4e00-\u9fff]", other.source)
    said = {argument.value for call in calls(path, "check") for argument in call.args[:1]}
    said |= {argument.value for call in calls(path, "show") for argument in call.args[1:2]}
    assert chinese.words.keys() == said, "the table's left column is the captions and claims, word for word"
    assert all(re.search(r"[\u4e00-\u9fff]", word) for word in chinese.words.values())


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_index_links_to_every_lesson(language):
    all_lessons = [lesson.in_language(language) for lesson in lessons()]
    page = index_page(all_lessons, language, LANGUAGES)
    for lesson in all_lessons:
        assert f'href="{lesson.name}{"" if language == "en" else ".zh"}.html"' in page and lesson.number in page


def test_a_lesson_is_a_plain_script(tmp_path):
    """Run the shortest lesson without any of our machinery around it."""
    path = min(PATHS, key=lambda path: parse(path).seconds)
    env = {**os.environ, "TINYCNN_LESSON": "fast", "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(path)], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("holds: ") == len(calls(path, "check"))
    assert list((tmp_path / "runs" / "lessons" / path.stem).glob("figure*.png"))
