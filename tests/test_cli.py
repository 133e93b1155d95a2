"""The command: its files, its output, and its errors."""

import csv
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tinycnn import plotting, run_folders, runs
from tinycnn.checkpoint import save_checkpoint
from tinycnn.cli import main
from tinycnn.run_folders import MARKER, claimed, new_folder, remove_abandoned
from tinycnn.training import Evaluation

TINY = ["--model", "resnet8", "--width", "0.25", "--image-size", "12", "--limit", "60", "--epochs", "2", "--quiet"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments):
    return main([str(a) for a in arguments])


def test_train_writes_a_run_that_can_be_evaluated_and_asked(folder, capsys, monkeypatch):
    assert run("train", *TINY, "--name", "first") == 0
    out = folder / "runs" / "first"
    files = {"checkpoint.safetensors", "model.safetensors", "settings.json", "history.csv", "result.json"}
    figures = {"learning_curves.png", "confusion_matrix.png", "predictions.png", "filters.png"}
    assert {path.name for path in out.iterdir()} == files | figures
    result = json.loads((out / "result.json").read_text())
    assert set(result) >= {"test_accuracy", "seconds", "images_per_second", "parameters", "versions"}
    with (out / "history.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    assert f"test accuracy {100 * result['test_accuracy']:.2f} %" in capsys.readouterr().out
    assert run("evaluate", "--quiet", "--limit", 60) == 0
    assert f"accuracy {100 * result['test_accuracy']:.2f} %" in capsys.readouterr().out
    assert run("evaluate", out, "--quiet") == 0
    assert ", 60 images" not in capsys.readouterr().out  # all, not as many as in training
    found = Evaluation(0.5, 0.25, 0.75, np.eye(10), np.eye(10))
    with monkeypatch.context() as patch:
        patch.setattr("tinycnn.training.evaluate", lambda *_: found)
        assert run("evaluate", out, "--quiet", "--limit", 20) == 0
    assert "accuracy 25.00 %, among the five best 75.00 %" in capsys.readouterr().out

    from PIL import Image

    Image.fromarray(np.zeros((30, 20, 3), np.uint8)).save(folder / "black.png")
    assert run("predict", "black.png") == 0
    lines = capsys.readouterr().out.splitlines()
    shares = [float(line.split("%")[0]) for line in lines[-5:]]
    assert shares == sorted(shares, reverse=True) and 50 < sum(shares) <= 100.01


def test_a_run_is_never_overwritten(folder):
    for _ in range(2):
        assert run("train", *TINY, "--epochs", 1, "--limit", 20) == 0
    assert sorted(p.name for p in (folder / "runs").iterdir()) == ["resnet8-glyphs", "resnet8-glyphs-2"]


def test_ctrl_c_while_figures_are_drawn_keeps_the_checkpoint_and_says_how_to_go_on(folder, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tinycnn.runs.draw_figures", interrupted)
        assert run("train", *TINY, "--name", "a") == 130
    out = capsys.readouterr().out
    assert (
        "stopped; the checkpoint is kept" in out and f"continue with: tinycnn train --resume {Path('runs', 'a')}" in out
    )
    assert run("train", "--resume", "runs/a", "--quiet") == 0
    assert (folder / "runs" / "a" / "filters.png").exists()


def test_ctrl_c_before_the_first_checkpoint_leaves_no_run(folder, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tinycnn.training.Trainer.fit", interrupted)
    assert run("train", *TINY) == 130
    assert "stopped before the first checkpoint: nothing is kept" in capsys.readouterr().out
    assert not list((folder / "runs").iterdir())


@pytest.mark.parametrize("name", [name for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)])
def test_a_signal_ends_a_command_with_128_and_its_number_and_leaves_no_run(name, folder, capsys, monkeypatch):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    monkeypatch.setattr("tinycnn.training.Trainer.fit", lambda _: signal.raise_signal(number))
    assert run("train", *TINY) == 128 + number
    assert "stopped before the first checkpoint: nothing is kept" in capsys.readouterr().out
    assert not list((folder / "runs").iterdir()) and signal.getsignal(number) is before
    monkeypatch.setattr("tinycnn.commands.data._data_list", lambda _: signal.raise_signal(number))
    monkeypatch.setattr(
        "tinycnn.cli.add_data",
        lambda commands, shared: commands.add_parser("data").set_defaults(run=lambda _: signal.raise_signal(number)),
    )
    assert run("data") == 128 + number
    assert f"tinycnn: ended by {name}" in capsys.readouterr().err


def test_a_signal_in_training_saves_and_the_status_is_its_own(folder, capsys, monkeypatch):
    from tinycnn.training.measuring import Measuring

    monkeypatch.setattr(Measuring, "on_batch_end", lambda *_: signal.raise_signal(signal.SIGTERM))
    assert run("train", *TINY, "--name", "my run") == 128 + signal.SIGTERM
    assert f"continue with: tinycnn train --resume '{Path('runs', 'my run')}'\n" in capsys.readouterr().out
    names = {path.name for path in (folder / "runs" / "my run").iterdir()}
    assert {"checkpoint.safetensors", "settings.json"} <= names and not names & {MARKER, "result.json"}


def test_stopping_a_resumed_run_never_removes_it(folder, monkeypatch):
    assert run("train", *TINY, "--name", "a") == 0
    out = folder / "runs" / "a"

    def interrupted(_):
        (out / "checkpoint.safetensors").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr("tinycnn.training.Trainer.fit", interrupted)
    assert run("train", "--resume", "a", "--epochs", 3) == 130
    assert (out / "result.json").exists()


def test_a_figure_that_cannot_be_drawn_is_a_note_and_the_run_is_finished(folder, capsys, monkeypatch):
    def broken(*_):
        raise RuntimeError("no ink")

    with monkeypatch.context() as patch:
        patch.setattr(plotting, "confusion_matrix", broken)
        assert run("train", *TINY, "--name", "a", "--epochs", 1, "--limit", 20) == 0
    err = capsys.readouterr().err
    assert err.count("figures that could not be drawn") == 1 and "confusion_matrix (no ink)" in err
    out = folder / "runs" / "a"
    assert (out / "result.json").exists() and (out / "model.safetensors").exists() and (out / "filters.png").exists()
    assert not (out / "confusion_matrix.png").exists()
    assert run("train", "--resume", "a", "--quiet") == 0
    assert (out / "confusion_matrix.png").exists()


# -- folders of runs ---------------------------------------------------------------------------------------------------


def test_many_starts_at_once_get_a_folder_each(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        folders = list(pool.map(lambda _: new_folder(tmp_path / "runs", "a"), range(200)))
    assert len(set(folders)) == 200 == len(list((tmp_path / "runs").iterdir()))


def _start(out):
    return [str(new_folder(out, "a")) for _ in range(25)]


def test_processes_that_start_at_once_get_a_folder_each(tmp_path):
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        folders = [folder for part in pool.map(_start, [tmp_path] * 6, chunksize=1) for folder in part]
    assert len(set(folders)) == 150


def test_what_killed_commands_left_is_removed_and_nothing_else(tmp_path):
    for name in ("killed", "running", "learned", "foreign"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "settings.json").write_text("{}")
    (tmp_path / "killed" / MARKER).touch()
    (tmp_path / "killed" / ".tmp-0123").touch()
    (tmp_path / "learned" / MARKER).touch()
    (tmp_path / "learned" / "checkpoint.safetensors").touch()
    with claimed(tmp_path / "running"):
        if run_folders.fcntl is not None:
            with (
                pytest.raises(OSError, match="is being written by another tinycnn command"),
                claimed(tmp_path / "running"),
            ):
                pass
        remove_abandoned(tmp_path)
        left = (
            {"running", "learned", "foreign"}
            if run_folders.fcntl is not None
            else {"killed", "running", "learned", "foreign"}
        )
        assert {path.name for path in tmp_path.iterdir()} == left
        assert (tmp_path / "running" / MARKER).exists()
    assert not (tmp_path / "running" / MARKER).exists()
    if run_folders.fcntl is not None:
        assert not (tmp_path / "learned" / MARKER).exists()


def test_a_run_that_was_killed_at_once_does_not_count_the_next_one_up(folder):
    (folder / "runs" / "resnet8-glyphs").mkdir(parents=True)
    (folder / "runs" / "resnet8-glyphs" / MARKER).touch()
    if run_folders.fcntl is None:
        os.utime(folder / "runs" / "resnet8-glyphs" / MARKER, (0, 0))
    assert run("train", *TINY, "--epochs", 1, "--limit", 20) == 0
    assert [path.name for path in (folder / "runs").iterdir()] == ["resnet8-glyphs"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda extra: extra.update(settings=[]), "settings are []"),
        (lambda extra: extra["settings"].update(augment=-1), "--augment is -1, expected a text"),
        (lambda extra: extra["settings"].update(epochs="six"), "--epochs is 'six', expected a whole number"),
        (lambda extra: extra["settings"].update(lr=-1.0), "--lr is -1.0, expected above 0"),
        (lambda extra: extra.update(classes={}), "classes are {}, expected a list of at least 2 names"),
        (lambda extra: extra.update(image_shape=7), "image_shape is 7, expected three numbers"),
        (lambda extra: extra.update(mean=None), "mean is None, expected a number for each of 1 channels"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused_with_its_name(folder, capsys, monkeypatch, change, message):
    state = {
        "model": {},
        "loader": {"seed": 0, "epoch": 1, "position": 0},
        "extra": {
            "settings": runs.asdict(runs.Settings()),
            "classes": ["a", "b"],
            "image_shape": [1, 12, 12],
            "mean": [0.5],
            "std": [0.5],
        },
    }
    change(state["extra"])
    (folder / "runs" / "a").mkdir(parents=True)
    path = folder / "runs" / "a" / "checkpoint.safetensors"
    save_checkpoint(path, state)
    for arguments in (["train", "--resume", "a"], ["evaluate", "a"], ["compress", "a"]):
        assert run(*arguments) == 1
        err = capsys.readouterr().err
        assert message in err and str(Path("runs", "a", "checkpoint.safetensors")) in err


# -- streams -----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="shell redirections of POSIX")
@pytest.mark.parametrize(
    ("line", "status"),
    [
        (">&-", 0),
        ("2>&-", 0),
        ("<&- >&- 2>&-", 0),
        ("| head -n 1", 0),
        *([(">/dev/full", 1)] if os.path.exists("/dev/full") else []),
    ],
)
def test_closed_streams_and_broken_pipes_are_survived(line, status, tmp_path):
    command = f'set -o pipefail; "{sys.executable}" -m tinycnn data list {line}'
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    result = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == status and "Traceback" not in result.stderr and "Exception ignored" not in result.stderr
    assert result.stderr.count("No space left on device") == status


def test_what_an_encoding_lacks_is_escaped(folder):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "tinycnn", "lesson", "list", "--lang", "zh"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0 and "\\u" in result.stdout and not result.stderr


def test_resume_goes_on_with_more_epochs(folder, capsys):
    assert run("train", *TINY, "--name", "a") == 0
    assert run("train", "--resume", "runs/a", "--epochs", 3, "--quiet") == 0
    with (folder / "runs" / "a" / "history.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]
    assert run("train", "--resume", "runs/a", "--lr", 1) == 1
    assert "--resume keeps the run's settings; leave out --lr" in capsys.readouterr().err


def test_other_data_and_models(folder):
    images = np.random.default_rng(0).integers(256, size=(24, 12, 12), dtype=np.uint8)
    np.savez("shapes.npz", images=images, labels=np.arange(24) % 3)
    options = ["--data", "npz", "--root", "shapes.npz", "--epochs", 1, "--quiet", "--batch-size", 8]
    assert run("train", "--model", "squeezenet1_1", "--bypass", "simple", "--width", 0.125, *options) == 0
    assert run("train", "--model", "resnet18", "--width", 0.0625, "--optimizer", "adamw", "--lr", 0.001, *options) == 0


@pytest.mark.parametrize(
    ("model", "shape"), [("lenet5", (1, 28, 28)), ("resnet8", (3, 32, 32)), ("resnet18", (3, 224, 224))]
)
def test_gradcheck_draws_images_of_the_papers_size_by_the_seed(model, shape, folder, monkeypatch):
    calls = []

    def note(model, images, target, **options):
        calls.append((images, options["seed"]))
        return SimpleNamespace(passed=True)

    monkeypatch.setattr("tinycnn.gradcheck_model", note)
    for seed in (5, 6):
        assert run("gradcheck", model, "--width", 0.25, "--seed", seed) == 0
    (first, one), (second, other) = calls
    assert first.shape == (2, *shape) and (one, other) == (5, 6) and (first != second).all()


def test_summary_and_gradcheck(folder, capsys):
    assert run("summary", "resnet20") == 0
    assert "269,722" in capsys.readouterr().out
    assert run("gradcheck", "resnet8", "--width", 0.25, "--input", "3x12x10", "--samples", 1) == 0
    assert "gradcheck passed" in capsys.readouterr().out


def test_a_check_that_fails_has_status_1(folder, monkeypatch):
    monkeypatch.setattr("tinycnn.gradcheck_model", lambda *_, **options: SimpleNamespace(passed=False))
    assert run("gradcheck", "resnet8", "--width", 0.25, "--input", "3x12x10") == 1
    monkeypatch.setattr("tinycnn.gradcheck_model", lambda *_, **options: SimpleNamespace(passed=True))
    assert run("gradcheck", "resnet8", "--width", 0.25, "--input", "3x12x10") == 0
    for good in (True, False):
        monkeypatch.setattr("tinycnn.doctor.report", lambda write, good=good: good)
        assert run("doctor") == (0 if good else 1)


def test_ctrl_c_in_any_command_has_status_130(folder, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tinycnn.doctor.report", interrupted)
    assert run("doctor") == 130
    assert capsys.readouterr().err == "tinycnn: interrupted\n"


def test_an_error_that_was_not_foreseen_is_one_line_too(folder, capsys, monkeypatch):
    def broken(*_):
        return {}["nothing"]

    monkeypatch.setattr("tinycnn.doctor.report", broken)
    assert run("doctor") == 1
    assert capsys.readouterr().err == "tinycnn: error: KeyError: 'nothing' (--debug shows where)\n"


def test_doctor_finds_everything(folder, capsys):
    assert run("doctor") == 0
    out = capsys.readouterr().out
    assert "Everything that training needs is here." in out and "glyphs" in out and "threads for" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--model", "resnet19"], "unknown model 'resnet19'; did you mean resnet1"),
        (["train", "--data", "glyfs"], "unknown data set 'glyfs'; did you mean glyphs?"),
        (["train", "--epochs", "0"], "--epochs is 0, expected at least 1"),
        (["train", "--lr", "-1"], "--lr is -1.0, expected above 0"),
        (["train", "--lr", "nan"], "--lr is nan, expected above 0"),
        (["train", "--optimizer", "sdg"], "unknown optimizer 'sdg'; did you mean sgd?"),
        (["train", "--data", "mnist", "--root", "nowhere"], "tinycnn data fetch mnist"),
        (["train", "--bypass", "simple"], "resnet8 has no option --bypass"),
        (["train", "--resume", "nowhere"], "there is no run nowhere: neither nowhere nor"),
        (["train", "--resume", "nowhere", "--weight-decay", "0"], "keeps the run's settings; leave out --weight-decay"),
        (["train", "--resume", "nowhere", "--name", "x"], "--resume continues in the run's folder; leave out --name"),
        (["train", "--name", "../x"], "--name is '../x', expected a plain name; the folder of runs is --out"),
        (["train", "--width", "inf"], "--width is inf, expected above 0"),
        (["train", "--weight-decay", "inf"], "--weight-decay is inf, expected at least 0"),
        (["train", "--channels", "0"], "--channels is 0, expected 1 or 3"),
        (["train", "--epochs", "99999999999999999999"], "--epochs is 99999999999999999999, expected at least 1 and at"),
        (["train", "--batch-size", "-3"], "--batch-size is -3, expected at least 1"),
        (["train", "--image-size", "99999"], "--image-size is 99999, expected at least 8 and at most 4,096"),
        (["train", "--limit", "0"], "--limit is 0, expected at least 1"),
        (["train", "--limit", "999999999"], "out of memory: --limit 999999999"),
        (["train", "--seed", "-1"], "--seed is -1, expected at least 0"),
        (["train", "--seed", "99999999999999999999"], "--seed is 99999999999999999999, expected at least 0 and below"),
        (["train", "--momentum", "1"], "--momentum is 1.0, expected from 0 to below 1"),
        (["train", "--momentum", "nan"], "--momentum is nan, expected from 0 to below 1"),
        (["train", "--label-smoothing", "nan"], "--label-smoothing is nan, expected from 0 to 1"),
        (["train", "--width", "1e9"], "--width is 1000000000.0, expected above 0 and at most 64"),
        (["train", "--width", "60", "--model", "vgg16"], "out of memory: vgg16 of --width 60"),
        (["train", "--augment", ""], "unknown augmentation ''"),
        (["train", "--root", "nope"], "--root has no effect on --data glyphs"),
        (["train", "--value-range", "0,1"], "--value-range has no effect on --data glyphs, only on --data folder"),
        (["train", "--value-range", "5,x"], "--value-range is '5,x', expected LOW,HIGH with LOW below HIGH"),
        (["train", "--momentum", "0.5", "--optimizer", "adam"], "--momentum has no effect on --optimizer adam"),
        (["train", "--batch-norm", "local"], "--batch-norm has no effect without mpiexec"),
        (["train", "--dropout", "0.5"], "resnet8 has no option --dropout"),
        (["train", "--name", ".."], "--name is '..', expected a plain name"),
        (["train", "--name", ""], "--name is '', expected a plain name"),
        (["evaluate", "a\nb"], "there is no run a\\nb: neither a\\nb nor runs/a\\nb has a checkpoint"),
        (["compress", "--out", "a\nb"], "there is no run in a\\nb: train one"),
        (["train", "--name", "a\nb"], "--name is 'a\\nb', expected no line breaks"),
        (["train", "--name", "\x1b[2Ja"], "--name is '\\x1b[2Ja', expected no line breaks"),
        (["train", "--name", "a\u2028b"], "--name is 'a\\u2028b', expected no line breaks"),
        (["summary", "resnet20", "--width", "1e9"], "--width is 1e+09, expected a number above 0 and at most 64"),
        (["summary", "vgg16", "--width", "64"], "out of memory: vgg16 of --width 64"),
        (["compress", "--target", "nan"], "--target is nan, expected above 1"),
        (["compress", "--epochs", "0"], "--epochs is 0, expected at least 1"),
        (["compress", "--lr", "inf"], "--lr is inf, expected above 0"),
        (["train", "--dropout", "1.5"], "--dropout is 1.5, expected from 0 to below 1"),
        (["train", "--data", "MNIST"], "unknown data set 'MNIST'; did you mean mnist or kmnist?"),
        (["train", "--data", "folder"], "by --root FOLDER"),
        (
            ["train", "--model", "vgg11", "--width", "0.1", *TINY[4:]],
            "vgg11: images are 12x12, expected at least 17x17",
        ),
        (["summary", "alexnet", "--width", "inf"], "width is inf, expected a number above 0"),
        (["summary", "resnet20", "--input", "3x999999x999999"], "out of memory: "),
        (["data", "fetch", "glyphs"], "glyphs is embedded: there is nothing to fetch"),
        (["evaluate", "nowhere"], "there is no run nowhere: neither nowhere nor"),
        (["evaluate"], "there is no run in runs: train one with `tinycnn train`"),
        (["predict", "cat.png"], "there is no run in runs"),
        (["summary", "vgg12"], "unknown model 'vgg12'; did you mean vgg1"),
        (["data", "fetch", "imagenet"], "unknown data set"),
    ],
)
def test_errors_are_one_clear_line_without_a_traceback(folder, capsys, arguments, message):
    assert run(*arguments) == 1
    err = capsys.readouterr().err
    assert err.startswith("tinycnn: error: ") and message in err and "Traceback" not in err
    assert not list(folder.glob("runs/*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--modle", "vgg11"], "unknown argument --modle; did you mean --model?"),
        (["train", "--width=--"], "argument --width: expected one argument, not --"),
        (["compress", "--target=--"], "argument --target: expected one argument, not --"),
        (["experiment", "degradation", "--lr=--"], "argument --lr: expected one argument, not --"),
        (["experiment", "degradation", "--lr", "nan"], "argument --lr: 'nan', expected a number above 0"),
        (
            ["experiment", "degradation", "--epochs", "0"],
            "argument --epochs: '0', expected a whole number of at least 1",
        ),
        (["experiment", "degradation", "--images", "9" * 20], "expected a whole number of at most 1000000"),
        (
            ["assign", "similarity", "x", "--least", "101"],
            "argument --least: '101', expected a whole number of at most",
        ),
        (["assign", "grade", "x", "--out", "y", "--jobs", "0"], "argument --jobs: '0', expected a whole number of at"),
        (["compress", "--bits", "9"], "argument --bits: invalid choice: 9"),
        (["gradcheck", "resnet8", "--seed", "9" * 30], "argument --seed: '999999999999999999999999999999', expected"),
        (["train", "--epochs", "1.5"], "argument --epochs: invalid int value: '1.5'"),
        (["gradcheck", "resnet8", "--batch", "0"], "argument --batch: '0', expected a whole number of at least 1"),
        (["gradcheck", "resnet8", "--samples", "x"], "argument --samples: 'x', expected a whole number of at least 0"),
        (["summary", "resnet20", "--classes", "0"], "argument --classes: '0', expected a whole number of at least 2"),
        (["summary", "vgg11", "--input", "3,8,8"], "'3,8,8', expected CHANNELSxHEIGHTxWIDTH such as 3x224x224"),
    ],
)
def test_a_wrong_command_line_is_one_line_with_status_2(capsys, arguments, message):
    with pytest.raises(SystemExit, match="2"):
        run(*arguments)
    err = capsys.readouterr().err
    assert err.startswith("tinycnn: error: ") and message in err and err.count("\n") == 1


def test_a_run_is_asked_for_by_name_and_must_fit(folder, capsys):
    assert run("train", *TINY, "--epochs", 1, "--limit", 20, "--name", "first") == 0
    for arguments, message in (
        (["evaluate", "frist"], "did you mean first? (runs in runs: first)"),
        (["train", "--resume", "first"], "has all its 1 epochs; to train on, give more: --epochs 2"),
        (["evaluate", "first", "--channels", 3], "trained on 1; convert them by --channels 1"),
        (["train", *TINY, "--out", "runs/first/result.json"], "cannot make the folder of the run"),
    ):
        capsys.readouterr()
        assert run(*arguments) == 1
        assert message in capsys.readouterr().err
    assert [path.name for path in (folder / "runs").iterdir()] == ["first"]


def test_classes_of_training_and_testing_must_agree(folder, capsys):
    images = np.zeros((4, 12, 12), np.uint8)
    arrays = {f"{split}_images": images for split in ("train", "test")}
    np.savez("names.npz", **arrays, train_labels=np.arange(4), test_labels=np.arange(4), classes=np.array(["one"]))
    assert run("train", "--data", "npz", "--root", "names.npz", "--quiet") == 1
    assert "label 1 at index 1 is outside the 1 classes" in capsys.readouterr().err
    image = pytest.importorskip("PIL.Image").new("RGB", (12, 12))
    for name in ("train/cat", "train/cow", "test/cow", "test/dog"):
        (folder / "photos" / name).mkdir(parents=True)
        image.save(folder / "photos" / name / "a.png")
    assert run("train", "--data", "folder", "--root", "photos", "--quiet") == 1
    message = "folder (test) has 2 classes (cow, dog), but folder (train) has 2 (cat, cow): expected the same"
    assert message in capsys.readouterr().err


def test_debug_shows_the_traceback(folder):
    with pytest.raises(LookupError):
        run("train", "--model", "resnet19", "--debug")


def test_a_broken_image_is_named(folder, capsys):
    assert run("train", *TINY, "--epochs", 1, "--limit", 20) == 0
    (folder / "broken.png").write_bytes(b"\x89PNG no")
    assert run("predict", "broken.png") == 1
    assert "broken.png" in capsys.readouterr().err


def test_data_list(folder, capsys):
    assert run("data", "list") == 0
    assert "glyphs needs no files" in capsys.readouterr().out


def test_the_list_of_data_sets_tells_what_is_there(folder, capsys, monkeypatch):
    monkeypatch.setenv("TINYCNN_DATA", str(folder / "sets"))
    (folder / "sets" / "mnist").mkdir(parents=True)
    assert run("data", "list") == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[1:]}
    assert str(folder / "sets" / "mnist") in lines["mnist"]
    assert lines["cifar10"].endswith("not here: tinycnn data fetch cifar10")


def test_a_run_that_is_not_named_is_the_one_saved_last(folder):
    for age, name in enumerate(("b", "c", "a")):
        (folder / "runs" / name).mkdir(parents=True)
        (folder / "runs" / name / "checkpoint.safetensors").touch()
        os.utime(folder / "runs" / name / "checkpoint.safetensors", (10**9 + age,) * 2)
    assert run_folders.newest_run(folder / "runs").name == "a"
    os.utime(folder / "runs" / "b" / "checkpoint.safetensors", (2 * 10**9,) * 2)
    assert run_folders.newest_run(folder / "runs").name == "b"
