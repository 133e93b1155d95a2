"""Runs: from settings to a trained model in a folder, and back from the folder to the model.

``runs/<name>/`` holds checkpoint.safetensors (to resume), model.safetensors (the weights), settings.json, history.csv,
result.json and the figures.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

import tinycnn as tc
from tinycnn import plotting
from tinycnn.checkpoint import load_checkpoint, reading_checkpoint
from tinycnn.data import ArrayDataset, DataLoader, transforms
from tinycnn.data.registry import load as load_data
from tinycnn.distributed.communicator import ALONE, Communicator, share
from tinycnn.distributed.parallel import synchronize_batch_norm
from tinycnn.errors import CheckpointError, DataError, unknown_name
from tinycnn.nn import Conv2d, Module
from tinycnn.optim import CosineAnnealingLR, MultiStepLR, Optimizer, Schedule, WarmUp
from tinycnn.training import Evaluation, Trainer, evaluate
from tinycnn.weights.atomic import atomic_write

CHECKPOINT = "checkpoint.safetensors"
SMALL = 96
OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("cosine", "step", "constant")
BATCH_NORMS = ("synchronised", "local")


@dataclass
class Settings:
    """What a training run is made of. None stands for what suits the data."""

    model: str = "resnet8"
    data: str = "glyphs"
    root: str | None = None
    epochs: int = 6
    batch_size: int = 64
    width: float = 1.0
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    optimizer: str = "sgd"
    schedule: str = "cosine"
    label_smoothing: float = 0.0
    augment: str | None = None
    image_size: int | None = None
    channels: int | None = None
    limit: int | None = None
    value_range: str | None = None
    seed: int = 0
    dropout: float | None = None
    bypass: str | None = None
    batch_norm: str = "synchronised"

    def check(self) -> None:
        """Raise ValueError for numbers out of range, UnknownNameError for names."""
        rules = {
            "epochs": (self.epochs >= 1, "at least 1"),
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "width": (0 < self.width < np.inf, "above 0"),
            "lr": (self.lr > 0 and np.isfinite(self.lr), "above 0"),
            "momentum": (0 <= self.momentum < 1, "from 0 to below 1"),
            "weight_decay": (0 <= self.weight_decay < np.inf, "at least 0"),
            "channels": (self.channels in (None, 1, 3), "1 or 3"),
            "dropout": (self.dropout is None or 0 <= self.dropout < 1, "from 0 to below 1"),
            "label_smoothing": (0 <= self.label_smoothing <= 1, "from 0 to 1"),
            "seed": (self.seed >= 0, "at least 0"),
            "image_size": (self.image_size is None or self.image_size >= 8, "at least 8"),
            "limit": (self.limit is None or self.limit >= 1, "at least 1"),
        }
        for name, (good, expected) in rules.items():
            if not good:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}, expected {expected}")
        for kind, name, known in (
            ("model", self.model, tc.models.names()),
            ("data set", self.data, tc.data.NAMES),
            ("optimizer", self.optimizer, OPTIMIZERS),
            ("schedule", self.schedule, SCHEDULES),
            ("batch norm", self.batch_norm, BATCH_NORMS),
            ("augmentation", self.augment or "none", ("none", "crop", "crop-flip")),
        ):
            if name not in known:
                raise unknown_name(kind, name, known)


def datasets(settings: Settings, splits: tuple[str, ...] = ("train", "test")) -> list[ArrayDataset]:
    """The splits of the data, untransformed."""
    size = settings.image_size or {"glyphs": 28}.get(settings.data)
    found = [
        load_data(
            settings.data,
            split,
            settings.root,
            size,
            settings.channels,
            settings.limit,
            settings.seed,
            value_range=settings.value_range,
        )
        for split in splits
    ]
    for other in found[1:]:
        check_classes(other, found[0].classes, found[0].name)
    if len(found[0].classes) < 2:
        raise DataError(f"{found[0].name} has 1 class, {found[0].classes[0]}, expected at least 2 to tell apart")
    return found


def check_classes(data: ArrayDataset, classes: Sequence[str], owner: str) -> None:
    """Raise DataError unless the data set has these classes, in this order."""
    if data.classes != tuple(classes):
        ours, theirs = (
            ", ".join(names[:10]) + (", ..." if len(names) > 10 else "") for names in (data.classes, classes)
        )
        raise DataError(
            f"{data.name} has {len(data.classes)} classes ({ours}), but {owner} has {len(classes)} ({theirs}): "
            "expected the same"
        )


def build_model(settings: Settings, classes: int, image_shape: tuple[int, ...]) -> Module:
    """The network for images of a shape (C, H, W); below 96 pixels with its stem for small images."""
    options: dict[str, Any] = {"num_classes": classes, "in_channels": image_shape[0], "width": settings.width}
    options["small_input"] = image_shape[1] < SMALL
    for name in ("dropout", "bypass"):
        if getattr(settings, name) is not None:
            options[name] = getattr(settings, name)
    try:
        return tc.models.build(settings.model, **options)
    except TypeError as error:
        wrong = [f"--{name}" for name in ("dropout", "bypass") if f"'{name}'" in str(error)]
        raise ValueError(f"{settings.model} has no option {', '.join(wrong) or error}") from error


def build_optimizer(settings: Settings, model: Module) -> Optimizer:
    """The optimiser; weight decay spares biases and batch norm."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "sgd":
        return tc.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, nesterov=settings.momentum > 0)
    return {"adam": tc.optim.Adam, "adamw": tc.optim.AdamW}[settings.optimizer](groups, lr=settings.lr)


def build_schedule(settings: Settings, optimizer: Optimizer, steps: int) -> Schedule | WarmUp | None:
    """The schedule over all steps, after a warm-up of a twentieth of them."""
    if settings.schedule == "constant":
        return None
    if settings.schedule == "step":
        inner: Schedule = MultiStepLR(optimizer, [steps // 2, steps * 3 // 4])
    else:
        inner = CosineAnnealingLR(optimizer, steps)
    return WarmUp(inner, steps // 20)


def build_trainer(
    settings: Settings, folder: Path, quiet: bool, communicator: Communicator = ALONE, device: str = "cpu"
) -> tuple[Trainer, ArrayDataset]:
    """A trainer with everything that it needs, and the test set."""
    settings.check()
    tc.manual_seed(settings.seed)
    train, test = datasets(settings)
    normalize = transforms.Normalize.of(train.images)
    train.transform = transforms.Compose([*_augmentation(settings, train.images.shape[2]), normalize])
    test.transform = normalize
    shape = train.images.shape[1:]
    model = build_model(settings, len(train.classes), shape).to(device)
    if settings.batch_norm == "synchronised" and communicator.size > 1:
        synchronize_batch_norm(model, communicator)
    loader = DataLoader(
        train,
        settings.batch_size,
        shuffle=True,
        seed=settings.seed,
        drop_last=len(train) > settings.batch_size,
        shard=(communicator.rank, communicator.size),
    )
    optimizer = build_optimizer(settings, model)
    extra = {
        "settings": asdict(settings),
        "classes": list(train.classes),
        "image_shape": list(shape),
        "mean": list(normalize.mean),
        "std": list(normalize.std),
    }
    trainer = Trainer(
        model,
        loader,
        optimizer,
        settings.epochs,
        schedule=build_schedule(settings, optimizer, settings.epochs * len(loader)),
        validation=DataLoader(test, 256),
        label_smoothing=settings.label_smoothing,
        checkpoint=folder / CHECKPOINT,
        extra=extra,
        quiet=quiet,
        communicator=communicator,
    )
    return trainer, test


def _augmentation(settings: Settings, size: int) -> list[Any]:
    """Random crops for photographs and mirrored ones where left and right do not matter; glyphs are varied as
    they are.
    """
    kind = settings.augment or {"cifar10": "crop-flip", "cifar100": "crop-flip"}.get(settings.data, "none")
    crop = [transforms.RandomCrop(size, max(1, size // 8))] if "crop" in kind else []
    return [*crop, *([transforms.RandomHorizontalFlip()] if "flip" in kind else [])]


def new_folder(out: Path, name: str) -> Path:
    """``out/name``, or ``out/name-2`` and so on if it exists: no run overwrites another."""
    folder, number = out / name, 1
    while folder.exists():
        number += 1
        folder = out / f"{name}-{number}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise OSError(error.errno, f"cannot make the folder of the run, {folder} ({error.strerror})") from error
    return folder


def train(
    settings: Settings,
    folder: Path,
    resume: bool = False,
    quiet: bool = False,
    communicator: Communicator = ALONE,
    device: str = "cpu",
) -> dict[str, Any]:
    """Train into a folder and return the result (also in result.json), or with ``interrupted`` set after Ctrl-C.

    Of several ranks, rank 0 reads and writes the folder.
    """
    start, first = time.perf_counter(), communicator.rank == 0
    trainer, test = build_trainer(settings, folder, quiet, communicator, device)
    before = 0.0
    if resume:
        state = share(communicator, lambda: load_checkpoint(folder / CHECKPOINT))
        with reading_checkpoint(folder / CHECKPOINT):
            before = float(state["extra"].get("seconds", 0.0))
        trainer.resume(state)
    if first:
        _write_json(folder / "settings.json", trainer.extra["settings"])
    trainer.fit()
    trainer.extra["seconds"] = before + time.perf_counter() - start
    trainer.save()
    if trainer.history and first:
        _write_history(folder / "history.csv", trainer.history)
    if trainer.interrupted:
        return {"interrupted": True, "epoch": trainer.loader.epoch, "batch": trainer.loader.position}
    assert trainer.validation is not None
    evaluation = trainer.evaluation or evaluate(trainer.model, trainer.validation, quiet, communicator=communicator)
    if not first:
        return {}
    trainer.model.save(folder / "model.safetensors")
    draw_figures(folder, trainer, test, evaluation)
    result = _result(trainer, evaluation, before + time.perf_counter() - start)
    _write_json(folder / "result.json", result)
    return result


def _result(trainer: Trainer, evaluation: Evaluation, seconds: float) -> dict[str, Any]:
    import numba

    rates = [row["images_per_second"] for row in trainer.history]
    return {
        "test_accuracy": evaluation.accuracy,
        "test_top5": evaluation.top5,
        "test_loss": evaluation.loss,
        "seconds": round(seconds, 2),
        "images_per_second": round(float(np.median(rates)), 1),
        "parameters": sum(p.size for p in trainer.model.parameters()),
        "versions": {
            "tinycnn": tc.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "numba": numba.__version__,
        },
        "settings": trainer.extra["settings"],
    }


def draw_figures(folder: Path, trainer: Trainer, test: ArrayDataset, evaluation: Evaluation) -> None:
    """Learning curves, confusion matrix, test images with predictions, first-layer filters."""
    first = next(module for module in trainer.model.modules() if isinstance(module, Conv2d))
    figures = {
        "learning_curves": plotting.learning_curves(trainer.history),
        "confusion_matrix": plotting.confusion_matrix(evaluation.confusion, test.classes),
        "predictions": plotting.prediction_grid(test.images, test.labels, evaluation.probabilities, test.classes),
        "filters": plotting.filter_grid(first.weight.numpy()),
    }
    for name, figure in figures.items():
        plotting.save(figure, folder / f"{name}.png")


def load_run(folder: Path) -> tuple[Module, dict[str, Any]]:
    """The model of a run, in evaluation mode, and what its checkpoint says of settings, classes and normalisation.

    Raises
    ------
    CheckpointError
        If there is no checkpoint, or it is damaged.
    """
    path = folder if folder.is_file() else folder / CHECKPOINT
    state = load_checkpoint(path)
    with reading_checkpoint(path):
        extra = state["extra"]
        settings = settings_of(extra)
        _check_extra(extra)
        model = build_model(settings, len(extra["classes"]), tuple(extra["image_shape"]))
        model.load_state_dict(state["model"])
        return model.eval(), extra


def _check_extra(extra: dict[str, Any]) -> None:
    """Raise ValueError unless classes, image shape and normalisation have the types that they were saved with."""
    classes, shape = extra["classes"], extra["image_shape"]
    if not isinstance(classes, (list, tuple)) or not all(isinstance(name, str) for name in classes):
        raise ValueError(f"classes are {classes!r:.100}, expected a list of names")
    if not isinstance(shape, (list, tuple)) or len(shape) != 3 or any(type(n) is not int or n < 1 for n in shape):
        raise ValueError(f"image_shape is {shape!r:.100}, expected channels, height and width")
    for name in ("mean", "std"):
        numbers = extra[name]
        if not isinstance(numbers, (list, tuple)) or not all(isinstance(n, (int, float)) for n in numbers):
            raise ValueError(f"{name} is {numbers!r:.100}, expected a number for each channel")
    transforms.Normalize(extra["mean"], extra["std"])


def settings_of(extra: dict[str, Any]) -> Settings:
    """The settings in a checkpoint, each of the type that it has in :class:`Settings`."""
    saved = dict(extra["settings"])
    types: dict[str, Any] = {"str": str, "int": int, "float": (int, float), "None": type(None)}
    known = {field.name: str(field.type) for field in fields(Settings)}
    for name, text in known.items():
        value = saved.get(name)
        if name in saved and (type(value) is bool or not any(isinstance(value, types[t]) for t in text.split(" | "))):
            raise ValueError(f"the setting {name} is {value!r}, expected {text}")
    return Settings(**{name: value for name, value in saved.items() if name in known})


def find_run(given: Path, out: Path) -> Path:
    """A run by its path, or by its name in the folder of runs.

    Raises
    ------
    CheckpointError
        If there is none, with the names of those that are there.
    """
    for folder in (given, out / given):
        if folder.is_file() or (folder / CHECKPOINT).is_file():
            return folder
    known = sorted(path.parent.name for path in out.glob(f"*/{CHECKPOINT}"))
    near = difflib.get_close_matches(given.name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    there = f"runs in {out}: {', '.join(known)}" if known else f"there is no run in {out}"
    raise CheckpointError(
        f"there is no run {given}: neither {given} nor {out / given} has a {CHECKPOINT}{hint} ({there})"
    )


def newest_run(out: Path) -> Path:
    """The run in a folder whose checkpoint was written last."""
    runs = sorted(out.glob(f"*/{CHECKPOINT}"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise CheckpointError(f"there is no run in {out}: train one with `tinycnn train`, or name one")
    return runs[-1].parent


def _write_history(path: Path, history: list[dict[str, float]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: f"{v:.6g}" for k, v in row.items()} for row in history)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def _write_json(path: Path, value: Any) -> None:
    with atomic_write(path) as file:
        file.write((json.dumps(value, indent=2) + "\n").encode())
