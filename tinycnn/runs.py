"""Runs: from settings to a trained model in a folder, and back from the folder to the model.

``runs/<name>/`` holds checkpoint.safetensors (to resume), model.safetensors (the weights), settings.json, history.csv,
result.json and the figures.
"""

from __future__ import annotations

import csv
import io
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib import import_module
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
from tinycnn.errors import DataError
from tinycnn.files.atomic import atomic_write
from tinycnn.files.storage import check_memory
from tinycnn.kernels import numba_is_missing
from tinycnn.nn import Conv2d, Module
from tinycnn.optim import CosineAnnealingLR, MultiStepLR, Optimizer, Schedule, WarmUp
from tinycnn.progress import note
from tinycnn.run_folders import CHECKPOINT, claimed, find_run, new_folder, newest_run, remove_abandoned
from tinycnn.settings import WIDEST, Settings, settings_of
from tinycnn.text import printable
from tinycnn.training import Evaluation, Trainer, evaluate

__all__ = [
    "CHECKPOINT",
    "WIDEST",
    "Settings",
    "build_model",
    "build_optimizer",
    "build_schedule",
    "build_trainer",
    "check_classes",
    "check_model_size",
    "claimed",
    "datasets",
    "draw_figures",
    "find_run",
    "is_complete",
    "load_run",
    "new_folder",
    "newest_run",
    "remove_abandoned",
    "settings_in",
    "settings_of",
    "train",
]

SMALL = 96
FIGURES = ("learning_curves", "confusion_matrix", "predictions", "filters")


def datasets(settings: Settings, splits: tuple[str, ...] = ("train", "test")) -> list[ArrayDataset]:
    """Return the splits of the data, untransformed."""
    size = settings.image_size or {"glyphs": 28}.get(settings.data)
    if settings.data == "glyphs" and settings.limit and size:
        check_memory(
            2 * settings.limit * (settings.channels or 1) * size**2, f"--limit {settings.limit} --image-size {size}"
        )
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
        raise DataError(
            f"{found[0].name} has 1 class, {printable(found[0].classes[0], 40)}, expected at least 2 to tell apart"
        )
    return found


def check_classes(data: ArrayDataset, classes: Sequence[str], owner: str) -> None:
    """Raise DataError unless the data set has these classes, in this order."""
    if data.classes != tuple(classes):
        ours, theirs = (
            ", ".join(printable(name, 40) for name in names[:10]) + (", ..." if len(names) > 10 else "")
            for names in (data.classes, classes)
        )
        raise DataError(
            f"{data.name} has {len(data.classes)} classes ({ours}), but {owner} has {len(classes)} ({theirs}): "
            "expected the same"
        )


def build_model(settings: Settings, classes: int, image_shape: tuple[int, ...]) -> Module:
    """Return the network for images of a shape (C, H, W); below 96 pixels with its stem for small images."""
    options: dict[str, Any] = {"num_classes": classes, "in_channels": image_shape[0], "width": settings.width}
    options["small_input"] = image_shape[1] < SMALL
    for name in ("dropout", "bypass"):
        if getattr(settings, name) is not None:
            options[name] = getattr(settings, name)
    try:
        check_model_size(settings.model, **options)
        return tc.models.build(settings.model, **options)
    except TypeError as error:
        wrong = [f"--{name}" for name in ("dropout", "bypass") if f"'{name}'" in str(error)]
        raise ValueError(f"{settings.model} has no option {', '.join(wrong) or error}") from error


def check_model_size(model: str, width: float, **options: Any) -> None:
    """Raise MemoryError for a network that is far wider than its own and does not fit into this machine.

    Its size is that of a narrow one, times the square of the ratio of widths.
    """
    narrow = 0.125
    if width <= 2:
        return
    generator = tc.random.default_generator()
    state = generator.get_state()
    try:
        size = sum(p.data.nbytes for p in tc.models.build(model, width=narrow, **options).parameters())
    finally:
        generator.set_state(state)
    check_memory(2 * size * (width / narrow) ** 2, f"{model} of --width {width:g}, with gradients,")


def build_optimizer(settings: Settings, model: Module) -> Optimizer:
    """Return the optimiser; weight decay spares biases and batch norm."""
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
    """Return the schedule over all steps, after a warm-up of a twentieth of them."""
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
    """Return a trainer with everything that it needs, and the test set."""
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
    """Return random crops for photographs, mirrored where left and right do not matter; glyphs stay as they are."""
    kind = settings.augment or {"cifar10": "crop-flip", "cifar100": "crop-flip"}.get(settings.data, "none")
    crop = [transforms.RandomCrop(size, max(1, size // 8))] if "crop" in kind else []
    return [*crop, *([transforms.RandomHorizontalFlip()] if "flip" in kind else [])]


def train(
    settings: Settings,
    folder: Path,
    resume: bool = False,
    quiet: bool = False,
    communicator: Communicator = ALONE,
    device: str = "cpu",
) -> dict[str, Any]:
    """Train into a folder and return the result (also in result.json), with ``interrupted`` set after a signal.

    Of several ranks, rank 0 reads and writes the folder. Figures are drawn last: one that cannot be drawn is a note,
    not an error.
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
        _write_json(folder / "settings.json", trainer.extra["settings"])  # again: the folder may have been made again
        _write_history(folder / "history.csv", trainer.history)
    if trainer.interrupted:
        return {"interrupted": True, "signal": trainer.signal, "epoch": trainer.epoch, "batch": trainer.position}
    assert trainer.validation is not None
    evaluation = trainer.evaluation or evaluate(trainer.model, trainer.validation, quiet, communicator=communicator)
    if not first:
        return {}
    trainer.model.save(folder / "model.safetensors")
    result = _result(trainer, evaluation, before + time.perf_counter() - start)
    _write_json(folder / "result.json", result)
    draw_figures(folder, trainer, test, evaluation)
    return result


def is_complete(folder: Path) -> bool:
    """True if a run has its result and all figures."""
    return (folder / "result.json").exists() and all((folder / f"{name}.png").exists() for name in FIGURES)


def _result(trainer: Trainer, evaluation: Evaluation, seconds: float) -> dict[str, Any]:
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
            "numba": import_module("numba").__version__ if numba_is_missing() is None else None,
        },
        "settings": trainer.extra["settings"],
    }


def draw_figures(folder: Path, trainer: Trainer, test: ArrayDataset, evaluation: Evaluation) -> None:
    """Draw learning curves, confusion matrix, test images with predictions and first-layer filters.

    A figure that cannot be drawn or written is left out, with a note.
    """
    first = next((module for module in trainer.model.modules() if isinstance(module, Conv2d)), None)
    draw: dict[str, Callable[[], Any]] = {
        "learning_curves": lambda: plotting.learning_curves(trainer.history),
        "confusion_matrix": lambda: plotting.confusion_matrix(evaluation.confusion, test.classes),
        "predictions": lambda: plotting.prediction_grid(
            test.images, test.labels, evaluation.probabilities, test.classes
        ),
    }
    if first is not None:
        draw["filters"] = lambda: plotting.filter_grid(first.weight.numpy())
    failures = []
    for name, figure in draw.items():
        try:
            plotting.save(figure(), folder / f"{name}.png")
        except Exception as error:  # the run is finished and saved
            failures.append(f"{name} ({str(error) or type(error).__name__})")
    if failures:
        note(f"figures that could not be drawn: {', '.join(failures)}; everything else is in {folder}")


def load_run(folder: Path) -> tuple[Module, dict[str, Any]]:
    """Return the model of a run, in evaluation mode, and its checkpoint's settings, classes and normalisation.

    Raises
    ------
    CheckpointError
        If there is no checkpoint, or it is damaged.
    """
    path = folder if folder.is_file() else folder / CHECKPOINT
    settings, state = settings_in(path)
    with reading_checkpoint(path):
        extra = state["extra"]
        model = build_model(settings, len(extra["classes"]), tuple(extra["image_shape"]))
        model.load_state_dict(state["model"])
        return model.eval(), extra


def settings_in(path: Path) -> tuple[Settings, dict[str, Any]]:
    """Return the settings of a run, and its whole checkpoint; the entries that commands read are checked.

    Raises
    ------
    CheckpointError
        If it is damaged, or not of a run.
    """
    state = load_checkpoint(path)
    with reading_checkpoint(path):
        settings = settings_of(state["extra"])
        _check_extra(state["extra"], state["loader"])
        return settings, state


def _check_extra(extra: dict[str, Any], loader: Any) -> None:
    """Raise ValueError unless classes, image shape, normalisation and place of a checkpoint are such."""
    classes, shape = extra.get("classes"), extra.get("image_shape")
    if not isinstance(classes, (list, tuple)) or len(classes) < 2 or not all(isinstance(name, str) for name in classes):
        raise ValueError(f"classes are {classes!r}, expected a list of at least 2 names")
    if not isinstance(shape, (list, tuple)) or len(shape) != 3 or not all(type(n) is int and n > 0 for n in shape):
        raise ValueError(f"image_shape is {shape!r}, expected three numbers")
    for name in ("mean", "std"):
        values = extra.get(name)
        if (
            not isinstance(values, list)
            or len(values) != shape[0]
            or not all(isinstance(v, (int, float)) for v in values)
        ):
            raise ValueError(f"{name} is {values!r}, expected a number for each of {shape[0]} channels")
    if not isinstance(loader, dict) or not isinstance(loader.get("epoch"), int):
        raise ValueError(f"loader is {loader!r}, expected a place with an epoch")


def _write_history(path: Path, history: list[dict[str, float]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(
        text, fieldnames=list(dict.fromkeys(name for row in history for name in row)), lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows({k: f"{v:.6g}" if isinstance(v, (int, float)) else v for k, v in row.items()} for row in history)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def _write_json(path: Path, value: Any) -> None:
    with atomic_write(path) as file:
        file.write((json.dumps(value, indent=2) + "\n").encode())
