"""The command: what it writes, prints, and says when something is wrong."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tinycnn.cli import main

TINY = ["--model", "resnet8", "--width", "0.25", "--image-size", "12", "--limit", "60", "--epochs", "2", "--quiet"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments):
    return main([str(a) for a in arguments])


def test_train_writes_a_run_that_can_be_evaluated_and_asked(folder, capsys):
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
    assert run("evaluate", out, "--quiet", "--limit", 20) == 0

    from PIL import Image

    Image.fromarray(np.zeros((30, 20, 3), np.uint8)).save(folder / "black.png")
    assert run("predict", "black.png") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines[-5:]) == 5 and all("%" in line for line in lines[-5:])


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
    assert "stopped; the checkpoint is kept" in out and f"go on with: tinycnn train --resume {Path('runs', 'a')}" in out
    assert run("train", "--resume", "runs/a", "--quiet") == 0
    assert (folder / "runs" / "a" / "filters.png").exists()


def test_ctrl_c_before_the_first_checkpoint_leaves_no_run(folder, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tinycnn.training.Trainer.fit", interrupted)
    assert run("train", *TINY) == 130
    assert "stopped before the first checkpoint: nothing is kept" in capsys.readouterr().out
    assert not list((folder / "runs").iterdir())


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


def test_summary_and_gradcheck(folder, capsys):
    assert run("summary", "resnet20") == 0
    assert "269,722" in capsys.readouterr().out
    assert run("gradcheck", "resnet8", "--width", 0.25, "--input", "3x12x10", "--samples", 1) == 0
    assert "gradcheck passed" in capsys.readouterr().out


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
        (["train", "--resume", "nowhere", "--name", "x"], "--resume goes on in the run's folder; leave out --name"),
        (["train", "--name", "../x"], "--name is '../x', expected a plain name; the folder of runs is --out"),
        (["train", "--width", "inf"], "--width is inf, expected above 0"),
        (["train", "--weight-decay", "inf"], "--weight-decay is inf, expected at least 0"),
        (["train", "--channels", "0"], "--channels is 0, expected 1 or 3"),
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
