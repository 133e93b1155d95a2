"""Reports as web pages that need no network: one for each student, and an index for the teacher."""

from __future__ import annotations

from html import escape
from pathlib import Path
from urllib.parse import quote

from tinycnn.assign.grading import Report, Result
from tinycnn.assign.reports.text import feedback
from tinycnn.assign.task import Task

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46em; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .3em .6em; vertical-align: top; }
tr { border-top: 1px solid #ddd; }
td.points { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.full { color: #1b6e3c; } .some { color: #8a5a00; } .none { color: #a4262c; }
p.feedback { margin: .3em 0; font-size: 90%; overflow-wrap: anywhere; } .hint { font-style: italic; }
pre { background: #f6f6f6; padding: .6em; overflow: auto; }
"""


def write_html(task: Task, reports: list[Report], out: Path) -> list[Path]:
    """Write ``html/STUDENT.html`` for each, and ``grades.html``, which links to them."""
    folder = out / "html"
    folder.mkdir(parents=True, exist_ok=True)
    for report in reports:
        (folder / f"{report.student}.html").write_text(student_page(task, report), encoding="utf-8")
    index = out / "grades.html"
    index.write_text(_index(task, reports), encoding="utf-8")
    return [index]


def student_page(task: Task, report: Report) -> str:
    """Return one student's report."""
    notes = "".join(f"<p>{escape(note)}</p>" for note in report.notes)
    rows = "".join(map(_row, report.results))
    lesson = f"<p>To read again: <code>tinycnn lesson run {escape(task.lesson)}</code></p>" if task.lesson else ""
    body = f"<h2>{report.score} of {report.points} points</h2>{notes}<table>{rows}</table>{lesson}"
    return _page(
        f"{task.number} · {report.student}", f"{task.number} · {task.title}", f"<p>{escape(report.student)}</p>{body}"
    )


def _row(result: Result) -> str:
    mark = "full" if result.passed else "some" if result.score else "none"
    said = "".join(f'<p class="feedback">{escape(text)}</p>' for text in feedback(result)[:1])
    said += "".join(f'<p class="feedback hint">{escape(text)}</p>' for text in feedback(result)[1:])
    if result.kind == "manual":
        mark, said = "some", f"<pre>{escape(result.text)}</pre>"
    return (
        f'<tr><td class="points {mark}">{result.score} / {result.points}</td>'
        f"<td><b>{escape(result.name)}</b> ({'by hand' if result.kind == 'manual' else result.kind})<br>"
        f"{escape(result.title)}{said}</td></tr>"
    )


def _index(task: Task, reports: list[Report]) -> str:
    head = "<tr><th>student</th><th>points</th><th>notes, and where points were lost</th></tr>"
    rows = "".join(
        f'<tr><td><a href="html/{quote(report.student)}.html">{escape(report.student)}</a></td>'
        f'<td class="points">{report.score} / {report.points}</td>'
        f"<td>{escape(_remark(report))}</td></tr>"
        for report in reports
    )
    body = f"<table>{head}{rows}</table>{_leaderboard(reports)}"
    return _page(task.number, f"{task.number} · {task.title}", body)


def _remark(report: Report) -> str:
    """Return notes, and the tests in which points were lost."""
    lost = ", ".join(report.lost()) if report.score else "" if report.notes else "everything"
    return "; ".join([*report.notes, *([lost] if lost else [])])


def _leaderboard(reports: list[Report]) -> str:
    """Return a table of those who have entries, the best first; later entries decide among equals."""
    ranked = sorted((report for report in reports if report.leaderboard), key=_place)
    if not ranked:
        return ""
    names = "".join(f"<th>{escape(entry['name'])}</th>" for entry in ranked[0].leaderboard)
    rows = "".join(
        f"<tr><td>{number}</td><td>{escape(report.student)}</td>"
        + "".join(f"<td>{entry['value']:.6g}</td>" for entry in report.leaderboard)
        + "</tr>"
        for number, report in enumerate(ranked, 1)
    )
    return f"<h2>Leaderboard</h2><table><tr><th></th><th>student</th>{names}</tr>{rows}</table>"


def _place(report: Report) -> list[float]:
    return [entry["value"] * (1 if entry["order"] == "asc" else -1) for entry in report.leaderboard]


def _page(title: str, heading: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(heading)}</h1>{body}</html>\n"
    )
