"""``tinycnn evaluate`` and ``tinycnn predict``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tinycnn.commands.options import DATA_OPTIONS, add_device, refuse_idle_data_options, run_folder
from tinycnn.commands.options import given as given_options

# Modules that take time to import are imported when the command runs.


def add_evaluate(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command ``evaluate``."""
    parser = commands.add_parser("evaluate", parents=[shared], help="test a trained network")
    parser.add_argument("folder", nargs="?", type=Path, metavar="RUN", help="a run (default: the newest in runs/)")
    for name, kind, text in DATA_OPTIONS:
        parser.add_argument(f"--{name}", type=kind, help=text)
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="test these in place of the run's: a .tcz file, say"
    )
    add_device(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    from dataclasses import replace

    from tinycnn import runs
    from tinycnn.data import DataLoader, transforms
    from tinycnn.errors import DataError
    from tinycnn.training import evaluate

    folder = run_folder(options.folder)
    model, extra = runs.load_run(folder)
    if options.weights:
        model.load(options.weights)
    channels, height, _ = extra["image_shape"]
    given = given_options(options, DATA_OPTIONS)
    refuse_idle_data_options(given.get("data", runs.settings_of(extra).data), given)
    settings = replace(runs.settings_of(extra), limit=None)
    if "data" in given:  # other data: its own folder, and images as the network knows them
        settings = replace(settings, root=None, image_size=height, channels=channels, value_range=None)
    settings = replace(settings, **given)
    settings.check()
    (test,) = runs.datasets(settings, ("test",))
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


def add_predict(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command ``predict``."""
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
    from tinycnn.text import printable

    folder = run_folder(options.folder)
    model, extra = runs.load_run(folder)
    channels, height, _ = extra["image_shape"]
    image = read_image(options.image, height, channels, runs.settings_of(extra).value_range)
    normalize = transforms.Normalize(extra["mean"], extra["std"])
    with no_grad():
        logits = model(Tensor(normalize(image[None], np.random.default_rng(0))))
    probabilities = F.softmax(logits, dim=1).data[0]
    print(f"{options.image}, by {folder}:")
    for index in np.argsort(-probabilities, kind="stable")[:5]:
        print(f"  {100 * probabilities[index]:6.2f} %  {printable(extra['classes'][index])}")
