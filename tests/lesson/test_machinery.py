"""Parsing, Markdown, formulas, highlighting, and the output of the command."""

import io
import json
import re
import sys
import token
import tokenize
from html import unescape
from pathlib import Path

import pytest

from tinycnn.cli import main
from tinycnn.lesson import ClaimError, check, source
from tinycnn.lesson.execute import LessonFailed, Recording, record, record_here
from tinycnn.lesson.formula import svg
from tinycnn.lesson.highlight import to_html as highlighted
from tinycnn.lesson.highlight import to_lines
from tinycnn.lesson.markdown import to_html
from tinycnn.lesson.notebook import to_notebook
from tinycnn.lesson.page import lesson_page
from tinycnn.lesson.report import Claim

SMALL = """# %% [markdown] seconds=1
# # 01 · A title
#
# Some prose.

# %%
from tinycnn import plotting
from tinycnn.lesson import check, show

print("before")
figure, axes = plotting.panels(3, 3)
axes.plot([0, 1], [1, 0])
show(figure, "A line.")
print("after")

# %%
check("one is one", 1 == 1)
"""
CHINESE = """# 01 · 标题

一些话。

---
| English | 中文 |
| --- | --- |
| A line. | 一条线。 |
| one is one | 一就是一 |
"""


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "lessons"
    (place / "zh").mkdir(parents=True)
    (place / "zh" / "01_small.md").write_text(CHINESE, encoding="utf-8")
    monkeypatch.setattr(source, "folder", lambda: place)
    out = place / "01_small.py"
    out.write_text(SMALL, encoding="utf-8")
    return out


def test_parse(path):
    lesson = source.parse(path)
    assert (lesson.name, lesson.number, lesson.title, lesson.seconds) == ("01_small", "01", "A title", 1)
    assert [cell.kind for cell in lesson.cells] == ["markdown", "code", "code"]
    assert lesson.cells[0].source == "# 01 · A title\n\nSome prose."
    assert lesson.cells[1].line == 7 and lesson.cells[1].source.startswith("from tinycnn import plotting")
    chinese = lesson.in_language("zh")
    assert chinese.title == "标题" and chinese.words["A line."] == "一条线。" and chinese.code == lesson.code


def test_a_cells_line_is_that_of_its_first_statement(path):
    path.write_text(SMALL.replace("# %%\nfrom", "# %%\n\n\nfrom"), encoding="utf-8")
    assert source.parse(path).cells[1].line == 9


def test_prose_keeps_its_indentation(path):
    path.write_text(SMALL.replace("# Some prose.", "# - a list\n#   of two lines  \n#\tand a tab"), encoding="utf-8")
    assert source.parse(path).cells[0].source == "# 01 · A title\n\n- a list\n  of two lines  \n\tand a tab"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("# %% [markdown] seconds=1", "x = 1", "line 1 stands before the first cell"),
        (" seconds=1", "", r"the first cell is not `# %% \[markdown\] seconds="),
        ("# %%\nfrom", "# %% [code]\nfrom", r"line 6 is '# %% \[code\]'"),
        ("# Some", "Some", "line 4 of a markdown cell does not begin with `#`"),
        ("01 · A", "A", "no title like `# 01 · Title`"),
    ],
)
def test_a_lesson_that_is_not_written_as_lessons_are(path, before, after, message):
    path.write_text(SMALL.replace(before, after), encoding="utf-8")
    with pytest.raises(source.LessonError, match=message):
        _ = source.parse(path).title


def test_prose_that_does_not_match(path):
    (path.parent / "zh" / "01_small.md").write_text(CHINESE.replace("一些话。", "一些\n\n---\n话。"), encoding="utf-8")
    with pytest.raises(source.LessonError, match=r"has 2 sections and a table .*, expected 1 section"):
        source.parse(path).in_language("zh")
    (path.parent / "zh" / "01_small.md").unlink()
    with pytest.raises(source.LessonError, match="01_small has no prose in zh"):
        source.parse(path).in_language("zh")


def test_outputs_come_in_order_and_survive_a_file(path, tmp_path):
    recording = record_here(source.parse(path))
    recording.save(tmp_path / "r.json")
    again = Recording.load(tmp_path / "r.json")
    assert again.cells == recording.cells and again.seconds == recording.seconds > 0
    first, second = again.cells
    assert [first[0], first[1].caption, first[2]] == ["before\n", "A line.", "after\n"]
    assert second == [Claim("one is one")]


def test_notebooks_and_pages_speak_their_language(path):
    """Text and claims that follow one another are one stream; captions and claims are translated."""
    path.write_text(SMALL.replace("# %%\ncheck(", "# %%\nprint(1)\ncheck(") + "print(2)\n", encoding="utf-8")
    (path.parent / "02_other.py").write_text(SMALL.replace("01 · A", "02 · Another"), encoding="utf-8")
    all_lessons = [lesson.in_language("zh") if lesson.number == "01" else lesson for lesson in source.lessons()]
    lesson, recording = all_lessons[0], record_here(source.parse(path))
    cells = to_notebook(lesson, recording)["cells"]
    assert [output["output_type"] for output in cells[1]["outputs"]] == ["stream", *["display_data"] * 2, "stream"]
    assert cells[1]["outputs"][1]["data"]["text/plain"] == ["一条线。"]
    (stream,) = cells[2]["outputs"]
    assert stream["text"] == ["1\n", "holds: 一就是一\n", "2\n"]
    pages = [lesson_page(one, recording, all_lessons, "zh", ["en", "zh"]) for one in all_lessons]
    assert "<li>一就是一</li>" in pages[0] and "一条线。" in pages[0] and "图 1." in pages[0]
    assert "02 →" in pages[0] and "← " not in pages[0]
    assert "← 01" in pages[1] and " →" not in pages[1]


def test_an_error_names_the_lessons_own_line(path):
    path.write_text(SMALL.replace("1 == 1", "1 == 2"), encoding="utf-8")
    with pytest.raises(ClaimError, match="does not support the claim: one is one") as caught:
        record_here(source.parse(path))
    assert any(Path(str(entry.path)) == path and entry.lineno + 1 == 17 for entry in caught.traceback)
    with pytest.raises(LessonFailed, match="lesson 01_small ended with an error"):
        record(source.parse(path))


def test_check_accepts_what_is_true_of_numpy():
    import numpy as np

    check("arrays of one truth are truths", np.bool_(True))
    with pytest.raises(ClaimError):
        check("an empty list is nothing", [])


def test_markdown():
    html = to_html(
        "# Title `x`\n\nA *b* **c**\nd < e [link](a.html)\n\n- one\n  more\n- two\n\n1. first\n\n> quoted\n> on\n\n"
        "| a | b |\n| --- | --- |\n| 1 | `|` |\n\n```python\nx = 1\n```\n\n```\n<raw>\n```"
    )
    for part in (
        "<h1>Title <code>x</code></h1>",
        '<p>A <em>b</em> <strong>c</strong>\nd &lt; e <a href="a.html">link</a></p>',
        "<ul><li>one\nmore</li><li>two</li></ul>",
        "<ol><li>first</li></ol>",
        "<blockquote><p>quoted\non</p></blockquote>",
        "<th>a</th><th>b</th>",
        '<pre>x = <span class="number">1</span></pre>',
        "<pre>&lt;raw&gt;</pre>",
    ):
        assert part in html
    assert to_html("| a | b |\n| --- | --- |\n| x \\| y | 2 |").count("<td>") == 2
    assert to_html("```\na\n```\nb") == "<pre>a</pre>\n<p>b</p>"
    assert to_html("* one") == to_html("- one") == "<ul><li>one</li></ul>"
    assert to_html("一行\n两行") == "<p>一行两行</p>"
    assert to_html("一行\n`b`\n两行，\nc") == "<p>一行\n<code>b</code>\n两行，c</p>"
    assert to_html("2 * 3 * 4 and snake_case_name") == "<p>2 * 3 * 4 and snake_case_name</p>"


def test_formulas_are_outlines_with_a_text_for_screen_readers():
    assert to_html("so $x^2 < 1$.").count("<svg") == 1
    image = svg(r"\frac{1}{2}")
    assert 'aria-label="\\frac{1}{2}"' in image and re.search(r'<path d="M[-\d .MLQCZ]+Z"', image)
    assert "<" not in re.search(r'aria-label="(.*?)" viewBox', svg("x < 1"))[1]
    heights = [float(y) for y in re.findall(r"[-\d]+ (-?\d+)", re.search(r' d="(.*?)"', svg("1"))[1])]
    assert min(heights) < -50 and max(heights) <= 0, "above the baseline, which is at 0: y points down"
    height = float(re.search(r"height:([\d.]+)em", image)[1])
    assert 0.5 < height < 3
    with pytest.raises(source.LessonError, match=r"the formula \$\\nonsense"):
        svg(r"\nonsense{x}")


@pytest.mark.parametrize("name", ["tinycnn/tensor.py", "tinycnn/cli.py", "tinycnn/lesson/highlight.py"])
def test_highlighting_keeps_the_text(name):
    text = (Path(__file__).parents[2] / name).read_text(encoding="utf-8").rstrip("\n")
    for html in (highlighted(text), to_lines(text).rstrip("\n")):
        assert unescape(re.sub(r"<[^>]+>", "", html)).rstrip("\n") == text
    keywords = sum(
        t.string == "def" for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type == token.NAME
    )
    assert highlighted(text).count('<span class="keyword">def</span>') == keywords


def test_highlighting_by_word_and_line():
    assert highlighted("class A: pass").count('<span class="definition">A</span>') == 1
    assert highlighted("def f(x): len(x)").count('<span class="definition">f</span>') == 1
    lines = to_lines('x = """a\n  b"""\ny = 1\n').splitlines()
    assert sum(line.count('<span class="string">') for line in lines) == 2
    assert [line for line in lines if "--indent:2" in line] and "--indent:0" in lines[0]


def test_commands(path, capsys):
    assert main(["lesson", "list", "--lang", "zh"]) == 0
    assert capsys.readouterr().out == "01     1 s  标题\n"
    assert main(["lesson", "run", "1", "--lang", "zh"]) == 0
    out = capsys.readouterr().out
    assert "一些话。" in out and "before" in out and "图" not in out and "holds: 一就是一" in out
    assert (path.parents[1] / "runs" / "lessons" / "01_small" / "figure1.png").is_file()
    assert main(["lesson", "notebook", "small", "--out", "books"]) == 0
    notebook = json.loads((path.parents[1] / "books" / "01_small.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4 and [cell["cell_type"] for cell in notebook["cells"]] == [
        "markdown",
        "code",
        "code",
    ]
    assert main(["lesson", "html", "--out", "pages"]) == 0
    names = {"01_small.html", "01_small.zh.html", "index.html", "index.zh.html"}
    assert {page.name for page in (path.parents[1] / "pages").iterdir()} == names
    assert "一条线。" in (path.parents[1] / "pages" / "01_small.zh.html").read_text(encoding="utf-8")


def test_a_lesson_that_is_not_there(path, capsys):
    assert main(["lesson", "run", "99"]) == 1
    assert capsys.readouterr().err == "tinycnn: error: there is no lesson '99'; there are 01_small\n"


def test_the_command_line_does_not_import_what_takes_time():
    import subprocess

    code = "import sys, tinycnn.cli; print(sorted({'numba', 'matplotlib', 'tinycnn.lesson'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
