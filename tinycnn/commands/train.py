"""``tinycnn train``."""

from __future__ import annotations

import argparse
import io
import shlex
import shutil
import sys
import traceback
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

from tinycnn.commands.failure import describe, let_rank_0_speak
from tinycnn.commands.options import DATA_OPTIONS, add_device, given, refuse_idle_data_options, run_folder
from tinycnn.text import printable

# Modules that take time to import are imported when the command runs.

_TRAIN_OPTIONS: tuple[tuple[str, type, str], ...] = (
    ("model", str, "a network, such as resnet20, vgg11, alexnet, squeezenet1_1"),
    *DATA_OPTIONS,
    ("epochs", int, "times through the data"),
    ("batch-size", int, "images in a step"),
    ("width", float, "factor on the network's channels"),
    ("dropout", float, "probability, for networks that have it"),
    ("bypass", str, "SqueezeNet: none, simple or complex"),
    ("optimizer", str, "sgd, adam or adamw"),
    ("lr", float, "learning rate"),
    ("momentum", float, "of sgd"),
    ("weight-decay", float, "of weights, not of biases and batch norm"),
    ("schedule", str, "cosine, step or constant"),
    ("label-smoothing", float, "share of the target spread over all classes"),
    ("augment", str, "none, crop or crop-flip"),
    ("seed", int, "same seed, same bits"),
    ("batch-norm", str, "under mpiexec: synchronised or local, statistics of all ranks' images or each rank's"),
)


def add_train(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command ``train``."""
    parser = commands.add_parser(
        "train",
        parents=[shared],
        help="train a network",
        description="Train a network; without options, on glyphs. `mpiexec -n 4 tinycnn train ...` does the same by "
        "four processes: each takes a quarter of every batch.",
    )
    from tinycnn.runs import Settings

    for name, kind, text in _TRAIN_OPTIONS:
        default = getattr(Settings, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=kind, help=text if default is None else f"{text} (default: {default})")
    parser.add_argument("--name", help="name of the run (default: model-data)")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of runs (default: runs)")
    parser.add_argument("--resume", type=Path, metavar="RUN", help="continue an interrupted run, bit for bit")
    add_device(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> int:
    """Train; under mpiexec, together with the other ranks, of which the first prints."""
    from tinycnn.distributed import DistributedError, world

    try:
        communicator = world()
    except (DistributedError, ValueError):
        if let_rank_0_speak():
            return 1
        raise
    if communicator.size == 1:
        return _train_with(communicator, options)
    try:
        with redirect_stdout(io.StringIO() if communicator.rank else sys.stdout):
            return _train_with(communicator, options)
    except BaseException as error:
        if options.debug:
            traceback.print_exc()
        stopped = isinstance(error, (KeyboardInterrupt, SystemExit))
        communicator.abort("interrupted" if stopped else describe(error))


def _train_with(communicator: Any, options: argparse.Namespace) -> int:
    from tinycnn import kernels, runs
    from tinycnn.distributed import share

    kernels.for_device(options.device)  # an error comes before anything is made
    if communicator.size == 1 and options.batch_norm is not None:
        raise ValueError("--batch-norm has no effect without mpiexec; leave it out")
    settings, place = share(communicator, lambda: _prepare(options))
    folder = Path(place)
    with runs.claimed(folder) if communicator.rank == 0 else nullcontext():
        return _train_into(folder, settings, communicator, options)


def _train_into(folder: Path, settings: dict[str, Any], communicator: Any, options: argparse.Namespace) -> int:
    from tinycnn import runs

    new = not options.resume
    try:
        print(f"{settings['model']} on {settings['data']}, into {folder}" + _by_ranks(communicator))
        result = runs.train(
            runs.Settings(**settings), folder, bool(options.resume), options.quiet, communicator, options.device
        )
    except (KeyboardInterrupt, SystemExit) as error:
        status = _stopped(folder, "stopped", 130 if isinstance(error, KeyboardInterrupt) else error.code or 1, new)
        if communicator.size > 1:
            raise
        return status
    except BaseException:
        if new:
            _remove_if_nothing_was_learned(folder)
        raise
    if result.get("interrupted"):
        how = f"stopped in epoch {result['epoch'] + 1} after batch {result['batch']}"
        return _stopped(folder, how, 128 + result["signal"], new)
    if communicator.rank == 0:
        print(
            f"test accuracy {100 * result['test_accuracy']:.2f} % after {result['seconds']:.0f} s "
            f"({result['images_per_second']:.0f} images/s, {result['parameters']:,} parameters)"
        )
        print(f"checkpoint, history and figures: {folder}")
    return 0


def _prepare(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Return the settings that the options mean, and the folder of the run, which then exists."""
    from dataclasses import asdict

    from tinycnn import runs

    chosen = given(options, _TRAIN_OPTIONS)
    if options.resume:
        if chosen.keys() - {"epochs"}:
            wrong = min(chosen.keys() - {"epochs"}).replace("_", "-")
            raise ValueError(f"--resume keeps the run's settings; leave out --{wrong}")
        if options.name is not None:
            raise ValueError("--resume continues in the run's folder; leave out --name")
        folder = run_folder(options.resume, options.out)
        folder = folder.parent if folder.is_file() and folder.name == runs.CHECKPOINT else folder
        settings = _settings_to_resume(folder, chosen.get("epochs"))
    else:
        name = options.name
        if name is not None and (Path(name).name != name or name in ("", "..")):
            raise ValueError(f"--name is {name!r}, expected a plain name; the folder of runs is --out")
        if name is not None and printable(name) != name:
            raise ValueError(f"--name is {name!r}, expected no line breaks and other characters that cannot be printed")
        settings = runs.Settings(**chosen)
        settings.check()
        _refuse_idle(settings, chosen)
        runs.remove_abandoned(options.out)
        folder = runs.new_folder(options.out, name or f"{settings.model}-{settings.data}")
    return asdict(settings), str(folder)


def _refuse_idle(settings: Any, chosen: dict[str, Any]) -> None:
    """Raise ValueError for an option that was given and has no effect, and MemoryError for far too wide a network."""
    from dataclasses import replace

    from tinycnn import runs

    refuse_idle_data_options(settings.data, chosen)
    if "dropout" in chosen or "bypass" in chosen:
        runs.build_model(replace(settings, width=min(settings.width, 0.125)), 2, (3, 224, 224))
    runs.check_model_size(settings.model, settings.width)
    if "momentum" in chosen and settings.optimizer != "sgd":
        raise ValueError(f"--momentum has no effect on --optimizer {settings.optimizer}; leave it out")


def _by_ranks(communicator: Any) -> str:
    if communicator.size == 1:
        return ""
    from tinycnn import get_num_threads

    threads = get_num_threads()
    return f", by {communicator.size} ranks of {threads} thread{'s' if threads > 1 else ''}"


def _stopped(folder: Path, how: str, status: Any, new: bool) -> int:
    """Print how to continue after a signal, and return the exit status."""
    if new and _remove_if_nothing_was_learned(folder):
        print(f"{how} before the first checkpoint: nothing is kept")
    else:
        print(f"{how}; the checkpoint is kept\ncontinue with: tinycnn train --resume {shlex.quote(str(folder))}")
    return status


def _remove_if_nothing_was_learned(folder: Path) -> bool:
    """Remove a new run that cannot be resumed; return True if it was one."""
    from tinycnn import runs

    if (folder / runs.CHECKPOINT).exists():
        return False
    shutil.rmtree(folder, ignore_errors=True)
    return True


def _settings_to_resume(folder: Path, epochs: int | None) -> Any:
    """Return the settings of a run to resume, perhaps with another number of epochs."""
    from tinycnn import runs

    path = folder / runs.CHECKPOINT
    settings, state = runs.settings_in(path)
    settings.epochs = settings.epochs if epochs is None else epochs
    settings.check()
    done = state["loader"]["epoch"]
    if done >= settings.epochs and runs.is_complete(folder):
        raise ValueError(f"{folder} has all its {done} epochs; to train on, give more: --epochs {2 * done}")
    return settings
