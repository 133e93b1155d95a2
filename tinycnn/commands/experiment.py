"""``tinycnn experiment NAME [--options]``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinycnn.commands.options import number, whole_number

# Modules that take time to import are imported when the command runs.
if TYPE_CHECKING:
    from tinycnn.lesson.experiment import Experiment

OUT = Path("runs", "experiments")
MOST = 10**6


def add_experiment(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command ``experiment``."""
    parser = commands.add_parser(
        "experiment", parents=[shared], help="run a study behind the lessons; without a name, list them"
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="an experiment; NAME --help lists its options")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(run=partial(_run, type(parser), shared))


def _run(parser_class: Any, shared: argparse.ArgumentParser, outer: argparse.Namespace) -> int:
    from tinycnn.lesson.experiment import RESULTS, load, names
    from tinycnn.lesson.report import FAST

    if outer.name is None:
        for name in names():
            print(f"{name:20}  {load(name).about}")
        return 0
    experiment = load(outer.name)
    options = _parser(parser_class, shared, outer.name, experiment).parse_args(outer.rest)
    outer.debug |= options.debug
    given = {name: value for name in experiment.grid if (value := getattr(options, name)) is not None}
    cells = experiment.cells(options.fast or FAST, **given)
    folder = options.out / outer.name
    print(f"{outer.name}: {len(cells)} cells, into {folder}", flush=True)
    try:
        rows = experiment.run(cells, folder, partial(print, flush=True))
    except KeyboardInterrupt:
        print(f"stopped; what is measured is kept in {folder / RESULTS}: the same command continues from there")
        raise
    print("\n".join(experiment.table(rows)))
    _draw(experiment, rows, folder)
    return 0


def _parser(parser_class: Any, shared: argparse.ArgumentParser, name: str, experiment: Experiment) -> Any:
    parser = parser_class(prog=f"tinycnn experiment {name}", description=experiment.about, parents=[shared])
    for option, axis in experiment.grid.items():
        default = " ".join(map(str, axis.values))
        parser.add_argument(
            f"--{option.replace('_', '-')}",
            nargs="+",
            type=_type_of(axis.values),
            metavar=type(axis.values[0]).__name__.upper(),
            choices=None if not isinstance(axis.values[0], str) else axis.values,
            help=f"{axis.help} (default: {default})",
        )
    parser.add_argument("--fast", action="store_true", help="a few seconds: a small grid of small nets")
    parser.add_argument("--out", type=Path, default=OUT, help=f"folder for results (default: {OUT})")
    return parser


def _type_of(values: Sequence[Any]) -> Any:
    """Return the argument type of an option: text, or numbers in range; 0 where it is one of the option's own."""
    if isinstance(values[0], str):
        return str
    zero = 0 in values
    return whole_number(0 if zero else 1, MOST) if isinstance(values[0], int) else number(0, MOST, inclusive=zero)


def _draw(experiment: Experiment, rows: Any, folder: Path) -> None:
    from tinycnn import plotting

    for name, figure in experiment.draw(rows).items():
        path = folder / f"{name}.png"
        plotting.save(figure, path)
        print(path)
