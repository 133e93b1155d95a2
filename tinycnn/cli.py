"""The ``tinycnn`` command."""

from __future__ import annotations

import argparse
import difflib
import io
import os
import re
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NoReturn

from tinycnn.commands.assign import add_assign
from tinycnn.commands.compress import add_compress
from tinycnn.commands.experiment import add_experiment
from tinycnn.commands.lesson import add_lesson
from tinycnn.errors import TinyCNNError

# Modules that take time to import (NumPy, Numba, matplotlib) are imported by the command that needs them.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 1 for an error, 2 for a wrong command line, 130 after Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    options = _parser().parse_args(arguments)
    try:
        status = options.run(options) or 0
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("tinycnn: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has seen enough, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (TinyCNNError, ValueError, TypeError, RuntimeError, OSError, MemoryError) as error:
        if options.debug:
            raise
        print(f"tinycnn: error: {_describe(error)}", file=sys.stderr)
        return 1


def _describe(error: BaseException) -> str:
    """What went wrong, without the words of the operating system's tables."""
    if isinstance(error, MemoryError):
        return f"out of memory: {error}; take a smaller --width, --batch-size or image size"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with a command line in one line, with the nearest word that would be right."""

    def parse_known_args(self, *arguments: Any, **options: Any) -> Any:
        namespace, rest = super().parse_known_args(*arguments, **options)
        if rest:
            self.error(f"unknown argument {rest[0]}{_nearest(rest[0], self._option_string_actions)}")
        return namespace, rest

    def error(self, message: str) -> NoReturn:
        found = re.search(r"invalid choice: '(.+?)' \(choose from (.+)\)", message)
        hint = _nearest(found[1], re.findall(r"[\w-]+", found[2])) if found else ""
        self.exit(2, None if _let_rank_0_speak() else f"tinycnn: error: {message}{hint} (see {self.prog} --help)\n")


def _let_rank_0_speak() -> bool:
    """Whether this is another rank than 0; it then waits until rank 0 has spoken, before mpiexec sees it end."""
    from tinycnn.distributed.mpi import launched_rank

    if launched_rank() == 0:
        return False
    time.sleep(1)
    return True


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="tinycnn", description="Convolutional networks from scratch: train, look inside, check.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (
        _add_train,
        _add_evaluate,
        _add_predict,
        _add_summary,
        _add_gradcheck,
        _add_data,
        _add_doctor,
        add_compress,
        add_lesson,
        add_experiment,
        add_assign,
    ):
        add(commands, shared)
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from tinycnn import __version__

        print(f"tinycnn {__version__}")
        parser.exit()


# -- train, evaluate, predict ------------------------------------------------------------------------------------------

_DATA_OPTIONS: tuple[tuple[str, type, str], ...] = (
    ("data", str, "glyphs (embedded), mnist, fashion_mnist, kmnist, cifar10, cifar100, folder, npz"),
    ("root", str, "folder with the data set's files (npz: the file)"),
    ("image-size", int, "resize images to this height and width"),
    ("channels", int, "1: grey, 3: colour"),
    ("limit", int, "use only so many images of each split"),
    ("value-range", str, "LOW,HIGH: values that become black and white in images of more than 8 bits"),
)
_TRAIN_OPTIONS: tuple[tuple[str, type, str], ...] = (
    ("model", str, "a network, such as resnet20, vgg11, alexnet, squeezenet1_1"),
    *_DATA_OPTIONS,
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


def _add_train(commands: Any, shared: argparse.ArgumentParser) -> None:
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
    parser.add_argument("--resume", type=Path, metavar="RUN", help="go on with an interrupted run, bit for bit")
    _add_device(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=_train)


def _add_device(parser: argparse.ArgumentParser) -> None:
    from tinycnn.kernels import DEVICES

    parser.add_argument("--device", choices=DEVICES, default="cpu", help="where to compute (default: cpu)")


def _given(options: argparse.Namespace, table: Sequence[tuple[str, type, str]]) -> dict[str, Any]:
    """The options that were given on the command line, by the names of Settings."""
    names = [name.replace("-", "_") for name, _, _ in table]
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def _train(options: argparse.Namespace) -> int:
    """Train; started by mpiexec, together with the other ranks, of which the first speaks."""
    from tinycnn.distributed import DistributedError, world

    try:
        communicator = world()
    except (DistributedError, ValueError):
        if _let_rank_0_speak():
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
        communicator.abort("interrupted" if isinstance(error, KeyboardInterrupt) else _describe(error))


def _train_with(communicator: Any, options: argparse.Namespace) -> int:
    from tinycnn import kernels, runs
    from tinycnn.distributed import share

    kernels.for_device(options.device)  # an error comes before anything is made
    settings, place = share(communicator, lambda: _prepare(options))
    folder = Path(place)
    print(f"{settings['model']} on {settings['data']}, into {folder}" + _by_ranks(communicator))
    try:
        result = runs.train(
            runs.Settings(**settings), folder, bool(options.resume), options.quiet, communicator, options.device
        )
    except KeyboardInterrupt:
        status = _stopped(folder, "stopped")
        if communicator.size > 1:
            raise
        return status
    except BaseException:
        _remove_if_nothing_was_learned(folder)
        raise
    if result.get("interrupted"):
        return _stopped(folder, f"stopped in epoch {result['epoch'] + 1} after batch {result['batch']}")
    if communicator.rank == 0:
        print(
            f"test accuracy {100 * result['test_accuracy']:.2f} % after {result['seconds']:.0f} s "
            f"({result['images_per_second']:.0f} images/s, {result['parameters']:,} parameters)"
        )
        print(f"checkpoint, history and figures: {folder}")
    return 0


def _prepare(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """The settings that the options mean, and the folder of the run, which exists then."""
    from dataclasses import asdict

    from tinycnn import runs

    given = _given(options, _TRAIN_OPTIONS)
    if options.resume:
        if given.keys() - {"epochs"}:
            wrong = min(given.keys() - {"epochs"}).replace("_", "-")
            raise ValueError(f"--resume keeps the run's settings; leave out --{wrong}")
        if options.name:
            raise ValueError("--resume goes on in the run's folder; leave out --name")
        folder = _run_folder(options.resume, options.out)
        settings = _settings_to_resume(folder, given.get("epochs"))
    else:
        if options.name and Path(options.name).name != options.name:
            raise ValueError(f"--name is {options.name!r}, expected a plain name; the folder of runs is --out")
        settings = runs.Settings(**given)
        settings.check()
        folder = runs.new_folder(options.out, options.name or f"{settings.model}-{settings.data}")
    return asdict(settings), str(folder)


def _by_ranks(communicator: Any) -> str:
    if communicator.size == 1:
        return ""
    from tinycnn import get_num_threads

    threads = get_num_threads()
    return f", by {communicator.size} ranks of {threads} thread{'s' if threads > 1 else ''}"


def _stopped(folder: Path, how: str) -> int:
    """Say how to go on after Ctrl-C; the exit status."""
    if _remove_if_nothing_was_learned(folder):
        print(f"{how} before the first checkpoint: nothing is kept")
    else:
        print(f"{how}; the checkpoint is kept\ngo on with: tinycnn train --resume {folder}")
    return 130


def _remove_if_nothing_was_learned(folder: Path) -> bool:
    """Leave no run behind that cannot be gone on with."""
    from tinycnn import runs

    if (folder / runs.CHECKPOINT).exists():
        return False
    shutil.rmtree(folder, ignore_errors=True)
    return True


def _run_folder(given: Path | None, out: Path = Path("runs")) -> Path:
    """The folder of a run: a path, a name in the folder of runs, or the newest there."""
    from tinycnn import runs

    return runs.newest_run(out) if given is None else runs.find_run(given, out)


def _settings_to_resume(folder: Path, epochs: int | None) -> Any:
    """The settings of a run that is to go on, perhaps with another number of epochs."""
    from tinycnn import runs
    from tinycnn.checkpoint import load_checkpoint, reading_checkpoint

    state = load_checkpoint(folder / runs.CHECKPOINT)
    with reading_checkpoint(folder / runs.CHECKPOINT):
        settings = runs.settings_of(state["extra"])
        settings.check()
        done = int(state["loader"]["epoch"])
    settings.epochs = settings.epochs if epochs is None else epochs
    if done >= settings.epochs and (folder / "result.json").exists():
        raise ValueError(f"{folder} has all its {done} epochs; to train on, give more: --epochs {2 * done}")
    return settings


def _add_evaluate(commands: Any, shared: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("evaluate", parents=[shared], help="test a trained network")
    parser.add_argument("folder", nargs="?", type=Path, metavar="RUN", help="a run (default: the newest in runs/)")
    for name, kind, text in _DATA_OPTIONS:
        parser.add_argument(f"--{name}", type=kind, help=text)
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="test these in place of the run's: a .tcz file, say"
    )
    _add_device(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    from dataclasses import replace

    from tinycnn import runs
    from tinycnn.data import DataLoader, transforms
    from tinycnn.errors import DataError
    from tinycnn.training import evaluate

    folder = _run_folder(options.folder)
    model, extra = runs.load_run(folder)
    if options.weights:
        model.load(options.weights)
    channels, height, _ = extra["image_shape"]
    given = _given(options, _DATA_OPTIONS)
    settings = replace(runs.settings_of(extra), limit=None)
    if "data" in given:  # other data: its own folder, and images as the network knows them
        settings = replace(settings, root=None, image_size=height, channels=channels, value_range=None)
    (test,) = runs.datasets(replace(settings, **given), ("test",))
    runs.check_classes(test, extra["classes"], str(folder))
    if test.images.shape[1] != channels:
        raise DataError(
            f"{test.name} has images of {test.images.shape[1]} channels, but {folder} was trained on {channels}; "
            f"convert them by --channels {channels}"
        )
    test.transform = transforms.Normalize(extra["mean"], extra["std"])
    result = evaluate(model.to(options.device), DataLoader(test, 256), options.quiet)
    print(f"{folder} on {test.name}, {len(test)} images: loss {result.loss:.4f}")
    print(f"accuracy {100 * result.accuracy:.2f} %, among the five best {100 * result.top5:.2f} %")


def _add_predict(commands: Any, shared: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("predict", parents=[shared], help="classify an image")
    parser.add_argument("image", type=Path, help="an image file")
    parser.add_argument("--run", dest="folder", type=Path, help="a run (default: the newest in runs/)")
    parser.set_defaults(run=_predict)


def _predict(options: argparse.Namespace) -> None:
    import numpy as np

    from tinycnn import functional as F
    from tinycnn import no_grad, runs
    from tinycnn.data import transforms
    from tinycnn.data.folder import read_image
    from tinycnn.tensor import Tensor

    folder = _run_folder(options.folder)
    model, extra = runs.load_run(folder)
    channels, height, _ = extra["image_shape"]
    image = read_image(options.image, height, channels, runs.settings_of(extra).value_range)
    normalize = transforms.Normalize(extra["mean"], extra["std"])
    with no_grad():
        logits = model(Tensor(normalize(image[None], np.random.default_rng(0))))
    probabilities = F.softmax(logits, dim=1).data[0]
    print(f"{options.image}, by {folder}:")
    for index in np.argsort(-probabilities, kind="stable")[:5]:
        print(f"  {100 * probabilities[index]:6.2f} %  {extra['classes'][index]}")


# -- looking inside ----------------------------------------------------------------------------------------------------


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a network, such as alexnet_2012")
    parser.add_argument("--width", type=float, default=1.0, help="factor on channels (default 1)")
    parser.add_argument("--classes", type=_whole_number(2), help="number of classes (default: the network's own)")
    parser.add_argument(
        "--input",
        type=_shape,
        metavar="CxHxW",
        help="input shape (default 3x224x224; CIFAR nets 3x32x32; lenet5 1x28x28)",
    )


def _shape(text: str) -> tuple[int, int, int]:
    try:
        channels, height, width = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}, expected CHANNELSxHEIGHTxWIDTH such as 3x224x224") from None
    if min(channels, height, width) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, expected numbers of at least 1")
    return channels, height, width


def _whole_number(least: int) -> Callable[[str], int]:
    """An argument type: a whole number of at least ``least``."""

    def parse(text: str) -> int:
        if not text.lstrip("+-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number of at least {least}")
        return int(text)

    return parse


def _build(options: argparse.Namespace) -> tuple[Any, tuple[int, int, int]]:
    """The model of the options, and its input shape: that of the data its paper trained it on, unless given."""
    from tinycnn import models

    classes = {} if options.classes is None else {"num_classes": options.classes}
    shape = options.input or ((1, 28, 28) if options.model == "lenet5" else (3, 224, 224))
    model = models.build(options.model, width=options.width, in_channels=shape[0], **classes)
    if options.input is None and isinstance(model, models.ResNet) and model.maxpool is None:
        shape = (3, 32, 32)
    return model, shape


def _add_summary(commands: Any, shared: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("summary", parents=[shared], help="the layers of a network: shapes, parameters, cost")
    _add_model_options(parser)
    parser.set_defaults(run=_summary)


def _summary(options: argparse.Namespace) -> None:
    from tinycnn.summary import summary

    print(summary(*_build(options)))


def _add_gradcheck(commands: Any, shared: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("gradcheck", parents=[shared], help="a network's backward against finite differences")
    _add_model_options(parser)
    parser.add_argument("--batch", type=_whole_number(1), default=2, help="images (default 2)")
    parser.add_argument(
        "--samples", type=_whole_number(0), default=0, help="elements of each parameter to check one by one (default 0)"
    )
    parser.add_argument(
        "--seed", type=_whole_number(0), default=0, help="of weights, images and directions (default 0)"
    )
    parser.set_defaults(run=_gradcheck)


def _gradcheck(options: argparse.Namespace) -> int:
    import numpy as np

    from tinycnn import gradcheck_model, manual_seed

    manual_seed(options.seed)
    model, shape = _build(options)
    rng = np.random.default_rng(options.seed)
    images, target = rng.normal(size=(options.batch, *shape)), rng.integers(2, size=options.batch)
    print(f"{options.model}, {options.batch} images of {'x'.join(map(str, shape))}, float64, training mode")
    report = gradcheck_model(model, images, target, samples=options.samples, seed=options.seed, raise_error=False)
    print(report)
    return 0 if report.passed else 1


# -- data and doctor ---------------------------------------------------------------------------------------------------


def _add_data(commands: Any, shared: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("data", help="list data sets, or fetch one")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", parents=[shared], help="the data sets and where they are looked for")
    listing.set_defaults(run=_data_list)
    fetch = actions.add_parser("fetch", parents=[shared], help="download a data set: the one command that does")
    fetch.add_argument("name", help="mnist, fashion_mnist, kmnist, cifar10 or cifar100")
    fetch.add_argument("--root", type=Path, help="folder to put it in")
    fetch.set_defaults(run=_data_fetch)


def _data_list(options: argparse.Namespace) -> None:
    from tinycnn.data import NAMES, default_root

    root = default_root()
    print(f"Data sets, and what is in {root} (or TINYCNN_DATA, or --root):")
    for name in NAMES:
        print(f"  {name:14} {_where(name, root)}")


def _where(name: str, root: Path) -> str:
    """What there is to say on a data set."""
    if name == "glyphs":
        return "embedded: glyphs needs no files"
    if name in ("folder", "npz"):
        return (
            "images of your own: --root FOLDER, with a folder for each class" if name == "folder" else "--root FILE.npz"
        )
    return f"in {root / name}" if (root / name).is_dir() else f"not here: tinycnn data fetch {name}"


def _data_fetch(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from tinycnn.data import default_root
    from tinycnn.data.fetch import fetch

    root = options.root or default_root()
    with tqdm(unit="B", unit_scale=True, delay=0.5) as bar:

        def progress(done: int, total: int | None, name: str) -> None:
            bar.set_description(name)
            bar.total, bar.n = total, done
            bar.refresh()

        paths = fetch(options.name, root, progress=progress)
    print(f"{options.name}: {len(paths)} files in {paths[0].parent if paths else root}")


def _add_doctor(commands: Any, shared: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("doctor", parents=[shared], help="what is installed, what is missing, how to get it")
    parser.set_defaults(run=lambda options: 0 if _doctor() else 1)


def _doctor() -> bool:
    from tinycnn.doctor import report

    return report(print)
