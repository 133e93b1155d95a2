"""Experiments: each runs in fast mode in its own process; results are kept, and measured the same again."""

import csv
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinycnn import plotting
from tinycnn.cli import main
from tinycnn.errors import DataError, UnknownNameError
from tinycnn.lesson.experiment import Experiment, Option, _text, load, names
from tinycnn.lesson.training import trained, twin

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", names())
def test_it_runs_in_fast_mode(name, tmp_path):
    from PIL import Image

    env = {**os.environ, "TINYCNN_LESSON": "fast", "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT)}
    script = ROOT / "lessons" / "experiments" / f"{name}.py"
    command = [sys.executable, "-W", "error", str(script)]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    folder = tmp_path / "runs" / "experiments" / name
    with (folder / "results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {tuple(row[axis] for axis in load(name).grid) for row in rows} == {
        tuple(_text(value) for value in cell.values()) for cell in load(name).cells(fast=True)
    }
    assert list(folder.glob("*.png"))
    for path in folder.glob("*.png"):
        pixels = np.asarray(Image.open(path).convert("L"))
        assert 0.002 < (pixels < 200).mean() < 0.98, path


def tiny(measured, stop_at=None):
    """Return an experiment that records its cells, and may be interrupted."""

    def measure(cell):
        if cell["depth"] == stop_at:
            raise KeyboardInterrupt
        measured.append((cell["depth"], cell["seed"]))
        return [{"epoch": epoch, "error": cell["depth"] / 3 + cell["seed"] + epoch} for epoch in (1, 2)]

    def draw(rows):
        figure, axes = plotting.panels(3, 3)
        axes.plot([row["error"] for row in rows])
        return {"errors": figure}

    grid = {"depth": Option((1, 2, 3), (1,), "layers"), "seed": Option((0, 1), (0,), "of all")}
    return Experiment("a test", grid, measure, draw, ("error",))


def test_stopped_and_gone_on_is_the_same_as_never_stopped(tmp_path):
    measured, again, lines = [], [], []
    with pytest.raises(KeyboardInterrupt):
        tiny(measured, stop_at=2).run(tiny([]).cells(False), tmp_path, lines.append)
    assert measured == [(1, 0), (1, 1)]
    rows = tiny(again).run(tiny([]).cells(False), tmp_path, lines.append)
    assert again == [(2, 0), (2, 1), (3, 0), (3, 1)] and "2 of 6 cells are measured already" in lines
    assert rows == tiny([]).run(tiny([]).cells(False), None, lines.append)
    before = (tmp_path / "results.csv").read_bytes()
    tiny([]).run(tiny([]).cells(False, depth=[2]), tmp_path, lines.append)
    assert (tmp_path / "results.csv").read_bytes() == before


def test_the_table_has_means_and_deviations_of_the_last_rows():
    experiment = tiny([])
    rows = experiment.run(experiment.cells(False, depth=[3, 6]), None, lambda line: None)
    assert experiment.table(rows) == [
        "depth 3: error 3.5 +- 0.5 (2 runs)",
        "depth 6: error 4.5 +- 0.5 (2 runs)",
    ]


def test_progress_tells_the_time_left(monkeypatch):
    monkeypatch.setattr("time.perf_counter", itertools.count().__next__)  # a second passes between two looks
    lines = []
    tiny([]).run(tiny([]).cells(False), None, lines.append)
    assert lines[0] == "[1/6] depth 1, seed 0: 1.0 s, about 10 s left"
    assert lines[-1] == "[6/6] depth 3, seed 1: 1.0 s, about 0 s left"


def test_rows_keep_nine_digits(tmp_path):
    for _ in range(2):  # measured, then read
        first, *_ = tiny([]).run(tiny([]).cells(False), tmp_path, lambda line: None)
        assert first["error"] == pytest.approx(1 / 3 + 1, rel=1e-8) and first["error"] != 1 / 3 + 1


def test_a_file_of_another_experiment_is_refused(tmp_path):
    (tmp_path / "results.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(DataError, match="has no column"):
        tiny([]).run(tiny([]).cells(False), tmp_path)
    assert (tmp_path / "results.csv").read_text(encoding="utf-8") == "a,b\n1,2\n"


def test_same_seed_same_numbers():
    experiment = load("degradation")
    cells = experiment.cells(True, depth=[8], net=["residual"])
    one, other = (experiment.run(cells, None, lambda line: None) for _ in range(2))
    assert one == other


def test_a_deleted_block_comes_back():
    import runpy

    lesion = runpy.run_path(str(ROOT / "lessons" / "experiments" / "lesion.py"))
    net = twin("residual", 20, 0.25, 0)
    places, before = lesion["blocks"](net), repr(net)
    assert len(places) == 7
    with lesion["deleted"](places[:2]):
        assert repr(net).count("Identity") == 2
    assert repr(net) == before


def test_studies_of_one_net_train_it_once_and_leave_it_as_it_was():
    net = trained("residual", 8, 0.25, 0, 200, 1, 0.1)
    before = {name: value.copy() for name, value in net.state_dict().items()}
    for name in ("lesion", "loss_landscape"):
        study = load(name)
        study.run(study.cells(True, net=["residual"], depth=[8]), None, lambda line: None)
    assert trained("residual", 8, 0.25, 0, 200, 1, 0.1) is net
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["experiment"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == names()
    assert main(["experiment", "degredation"]) == 1
    assert "unknown experiment 'degredation'; did you mean degradation?" in capsys.readouterr().err
    assert main(["experiment", "shattered_gradients", "--fast", "--depth", "3", "--out", "here"]) == 0
    assert "net plain: neighbour" in capsys.readouterr().out
    assert (tmp_path / "here" / "shattered_gradients" / "gradients.png").is_file()
    with pytest.raises(SystemExit):
        main(["experiment", "lesion", "--dpth", "3"])
    assert "unknown argument --dpth; did you mean --depth?" in capsys.readouterr().err
    with pytest.raises(UnknownNameError, match="unknown option 'width'"):
        tiny([]).cells(width=[1])
