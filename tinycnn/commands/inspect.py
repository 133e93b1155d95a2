"""``tinycnn summary``, ``tinycnn plan``, ``tinycnn profile`` and ``tinycnn gradcheck``."""

from __future__ import annotations

import argparse
import math
from typing import Any

from tinycnn.commands.options import LARGEST_SEED, shape, whole_number

# Modules that take time to import are imported when the command runs.


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a network, such as alexnet_2012")
    parser.add_argument("--width", type=float, default=1.0, help="factor on channels (default 1)")
    parser.add_argument("--classes", type=whole_number(2, 10**6), help="number of classes (default: the network's own)")
    parser.add_argument(
        "--input",
        type=shape,
        metavar="CxHxW",
        help="input shape (default 3x224x224; CIFAR nets 3x32x32; lenet5 1x28x28)",
    )


def _build(options: argparse.Namespace) -> tuple[Any, tuple[int, int, int]]:
    """Return the model of the options, and its input shape: that of the data its paper trained it on, unless given."""
    from tinycnn import models
    from tinycnn.errors import unknown_name
    from tinycnn.files.storage import check_memory
    from tinycnn.runs import WIDEST, check_model_size

    if not 0 < options.width <= WIDEST:
        raise ValueError(f"--width is {options.width:g}, expected a number above 0 and at most {WIDEST:g}")
    if options.model not in models.names():
        raise unknown_name("model", options.model, models.names())
    if options.input:
        size = "x".join(map(str, options.input))
        check_memory(200 * math.prod(options.input), f"--input {size}, with the layers' outputs,")
    classes = {} if options.classes is None else {"num_classes": options.classes}
    shape = options.input or ((1, 28, 28) if options.model == "lenet5" else (3, 224, 224))
    check_model_size(options.model, options.width, in_channels=shape[0], **classes)
    model = models.build(options.model, width=options.width, in_channels=shape[0], **classes)
    if options.input is None and isinstance(model, models.ResNet) and model.maxpool is None:
        shape = (3, 32, 32)
    return model, shape


def add_summary(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command ``summary``."""
    parser = commands.add_parser("summary", parents=[shared], help="the layers of a network: shapes, parameters, cost")
    _add_model_options(parser)
    parser.set_defaults(run=_summary)


def _summary(options: argparse.Namespace) -> None:
    from tinycnn import summary

    print(summary(*_build(options)))


def add_plan(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command ``plan``."""
    parser = commands.add_parser("plan", parents=[shared], help="algorithms and loops that compute a network's layers")
    _add_model_options(parser)
    parser.add_argument("--batch", type=whole_number(1, 10**6), default=8, help="images (default 8)")
    parser.set_defaults(run=_plan)


def _plan(options: argparse.Namespace) -> None:
    from tinycnn import plan

    model, shape = _build(options)
    print(plan(model, (options.batch, *shape)))


def add_profile(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command ``profile``."""
    parser = commands.add_parser("profile", parents=[shared], help="time and memory of a network's training step")
    _add_model_options(parser)
    parser.add_argument("--batch", type=whole_number(1, 10**6), default=8, help="images (default 8)")
    parser.add_argument("--steps", type=whole_number(1, 10**6), default=3, help="steps to measure (default 3)")
    parser.set_defaults(run=_profile)


def _profile(options: argparse.Namespace) -> None:
    import numpy as np

    from tinycnn import functional as F
    from tinycnn import get_num_threads, profile
    from tinycnn.tensor import Tensor

    model, shape = _build(options)
    rng = np.random.default_rng(0)
    images = Tensor(rng.normal(size=(options.batch, *shape)).astype(np.float32))
    labels = rng.integers(2, size=options.batch)

    def step() -> None:
        model.zero_grad()
        F.cross_entropy(model(images), labels).backward()

    step()  # compiles kernels
    with profile(model) as measured:
        for _ in range(options.steps):
            step()
    size = "x".join(map(str, shape))
    threads = f"{get_num_threads()} threads" if get_num_threads() > 1 else "1 thread"
    steps = f"{options.steps} steps" if options.steps > 1 else "1 step"
    print(f"{options.model}, {steps} of {options.batch} images of {size}, {threads}")
    print(measured)


def add_gradcheck(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command ``gradcheck``."""
    parser = commands.add_parser("gradcheck", parents=[shared], help="a network's backward against finite differences")
    _add_model_options(parser)
    parser.add_argument("--batch", type=whole_number(1, 10**6), default=2, help="images (default 2)")
    parser.add_argument(
        "--samples", type=whole_number(0), default=0, help="elements of each parameter to check one by one (default 0)"
    )
    parser.add_argument(
        "--seed", type=whole_number(0, LARGEST_SEED), default=0, help="of weights, images and directions (default 0)"
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
