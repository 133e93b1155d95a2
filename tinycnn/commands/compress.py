"""``tinycnn compress RUN``."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Modules that take time to import are imported when the command runs.
if TYPE_CHECKING:
    from tinycnn.compression.pipeline import Result
    from tinycnn.runs import Settings

FILE = "model.tcz"
YARDSTICK = "alexnet_2012"


def add_compress(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command ``compress``."""
    parser = commands.add_parser(
        "compress",
        parents=[shared],
        help="make a trained network small: prune, retrain, share weights, Huffman-code",
        description="Deep Compression (Han et al. 2016): a trained network as a small file, and its accuracy.",
    )
    parser.add_argument("run_folder", nargs="?", type=Path, metavar="RUN", help="a run (default: the newest in runs/)")
    parser.add_argument("--target", type=float, default=30.0, help="target: times smaller (default: 30)")
    parser.add_argument(
        "--against",
        metavar="MODEL",
        help="smaller than the float32 weights of this network, with the run's width, classes and images (default: the "
        f"run's own; a SqueezeNet's {YARDSTICK}, as its paper counts)",
    )
    parser.add_argument("--bits", type=int, choices=range(4, 9), default=5, help="of a shared weight (default: 5)")
    parser.add_argument("--linear", action="store_true", help="values at equal distances, not by k-means")
    parser.add_argument("--scope", choices=("global", "layer"), default="global", help="of pruning (default: global)")
    parser.add_argument("--epochs", type=int, default=8, help="of retraining (default: 8)")
    parser.add_argument(
        "--lr",
        type=float,
        help="learning rate of Adam in retraining (default: the run's if that was Adam's, else 0.001)",
    )
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of runs (default: runs)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=_compress)


def _compress(options: argparse.Namespace) -> None:
    from tinycnn import runs
    from tinycnn.compression.pipeline import Plan, compress
    from tinycnn.data import DataLoader, transforms

    for name, good, expected in (
        ("target", 1 < options.target < float("inf"), "above 1"),
        ("epochs", 1 <= options.epochs <= 10**6, "at least 1 and at most 1,000,000"),
        ("lr", options.lr is None or 0 < options.lr <= 1e6, "above 0 and at most 1,000,000"),
    ):
        if not good:
            raise ValueError(f"--{name} is {getattr(options, name):g}, expected {expected}")
    run = runs.find_run(options.run_folder, options.out) if options.run_folder else runs.newest_run(options.out)
    model, extra = runs.load_run(run)
    settings = runs.settings_of(extra)
    own = sum(array.nbytes for array in model.state_dict().values())
    against = options.against or (YARDSTICK if settings.model.startswith("squeezenet") else settings.model)
    base = own if against == settings.model else _bytes_of(against, settings, extra)
    plan = Plan(
        int(base / options.target),
        options.bits,
        options.linear,
        options.scope,
        options.epochs,
        lr=options.lr or (settings.lr if settings.optimizer.startswith("adam") else 1e-3),
    )
    train, test = runs.datasets(settings)
    train.transform = test.transform = transforms.Normalize(extra["mean"], extra["std"])
    loader = DataLoader(
        train, settings.batch_size, shuffle=True, seed=settings.seed + 1, drop_last=len(train) > settings.batch_size
    )
    place = run if run.is_dir() else run.parent
    runs.remove_abandoned(place, "compressed*")
    folder = runs.new_folder(place, "compressed")
    with runs.claimed(folder):
        try:
            print(f"{settings.model} on {settings.data}: {own:,} bytes in float32, into {folder}")
            print(f"target: {plan.target:,} bytes, 1/{options.target:g} of {against} with {base:,}", flush=True)
            result = compress(model, loader, DataLoader(test, 256), folder / FILE, plan, _say, options.quiet)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        _report(result, folder, own)
    print(f"{folder / FILE}: 1/{base / result.stages[-1].bytes:.1f} of {against}; read back, every bit is the same")


def _say(line: str) -> None:
    print(line, flush=True)


def _bytes_of(name: str, settings: Settings, extra: dict[str, Any]) -> int:
    """Return the bytes of a network's weights in float32, with the width, the classes and the images of a run."""
    from dataclasses import replace

    from tinycnn import runs

    other = replace(settings, model=name, dropout=None, bypass=None)
    model = runs.build_model(other, len(extra["classes"]), tuple(extra["image_shape"]))
    return sum(array.nbytes for array in model.state_dict().values())


def _report(result: Result, folder: Path, own: int) -> None:
    """Print the stages, and write them with the trade-off and its figure."""
    import json

    from tinycnn import plotting
    from tinycnn.files.atomic import atomic_write
    from tinycnn.progress import note

    first, shared, last = result.stages[0], result.stages[-2], result.stages[-1]
    print(f"\n{'stage':16}{'bytes':>14}{'ratio':>9}{'accuracy':>12}")
    for stage in result.stages:
        print(f"{stage.name:16}{stage.bytes:14,}{own / stage.bytes:9.2f}{100 * stage.accuracy:10.2f} %")
    measured = result.stages[1].value_bytes / shared.value_bytes
    print(f"shared weights take 1/{measured:.2f} of what they took, by the paper's formula 1/{result.formula:.2f}")
    print(f"accuracy {100 * first.accuracy:.2f} % before, {100 * last.accuracy:.2f} % after")
    with atomic_write(folder / "result.json") as file:
        points = {name: [p._asdict() for p in getattr(result, name)] for name in ("at_once", "retrained")}
        record = {"stages": [s._asdict() for s in result.stages], "formula": result.formula, **points}
        file.write((json.dumps(record, indent=2) + "\n").encode())
    curves = {
        "pruned at once": [(own / point.bytes, point.accuracy) for point in result.at_once],
        "pruned while retrained": [(own / point.bytes, point.accuracy) for point in result.retrained],
    }
    try:
        figure = plotting.trade_off(curves, first.accuracy, (own / last.bytes, last.accuracy))
        plotting.save(figure, folder / "trade_off.png")
    except Exception as error:  # the result is saved already
        note(f"the figure of the trade-off could not be drawn: {error}")
        return
    print(folder / "trade_off.png")
