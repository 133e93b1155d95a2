"""A lesson as a Jupyter notebook with its outputs (nbformat 4.5), written without Jupyter."""

from __future__ import annotations

import base64
from typing import Any

import tinycnn
from tinycnn.lesson.execute import Recording
from tinycnn.lesson.report import Claim, Output, Picture
from tinycnn.lesson.source import Lesson


def to_notebook(lesson: Lesson, recording: Recording) -> dict[str, Any]:
    """Return the notebook as the JSON object that an .ipynb file holds."""
    cells, count = [], 0
    for index, cell in enumerate(lesson.cells):
        entry: dict[str, Any] = {
            "cell_type": cell.kind,
            "id": f"{cell.kind}-{index}",
            "metadata": {},
            "source": cell.source.splitlines(keepends=True),
        }
        if cell.kind == "code":
            outputs = _outputs(recording.cells[count], lesson.words)
            count += 1
            entry |= {"execution_count": count, "outputs": outputs}
        cells.append(entry)
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
        "title": lesson.title,
        "tinycnn": tinycnn.__version__,
    }
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _outputs(outputs: list[Output], words: dict[str, str]) -> list[dict[str, Any]]:
    """Return text and claims that follow one another as one stream, figures as PNG with their captions."""
    out: list[dict[str, Any]] = []
    for output in outputs:
        if isinstance(output, Picture):
            caption = words.get(output.caption, output.caption)
            data = {"image/png": base64.b64encode(output.png).decode("ascii"), "text/plain": [caption]}
            out.append({"output_type": "display_data", "data": data, "metadata": {"image/png": {"alt": caption}}})
            out.append(
                {
                    "output_type": "display_data",
                    "data": {"text/markdown": [f"*{caption}*"], "text/plain": [caption]},
                    "metadata": {},
                }
            )
            continue
        text = f"holds: {words.get(output.text, output.text)}\n" if isinstance(output, Claim) else output
        if not out or out[-1]["output_type"] != "stream":
            out.append({"output_type": "stream", "name": "stdout", "text": []})
        out[-1]["text"].extend(text.splitlines(keepends=True))
    return out
