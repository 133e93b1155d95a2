"""``python -m benchmarks`` measures the first four, or those that are named, and writes tables and figures.

speed     training and inference of five networks beside PyTorch, share of the machine's limit, peak memory
layers    each of their layers beside PyTorch, forward and backward
startup   import, compilation of the first step, and a later process
growth    time and memory over batch size and depth
overhead  microseconds of an operation beside its arithmetic, here and with --against in another checkout
trees     training and inference here and, with --against, in another checkout

Other programs: ``python -m benchmarks.accuracy``, how far results are from PyTorch's; ``benchmarks.compression``, what
makes SqueezeNet 1/510 of AlexNet, and the time of that; ``benchmarks.communication``, what data-parallel training
sends; ``benchmarks.cuda``, speed on a GPU; ``benchmarks.tuning``, other values of a constant that decides speed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import NETS, growth, layers, overhead, speed, startup, trees


def main() -> None:
    """Measure the requested files."""
    names = [net.name for net in NETS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = {"speed": speed.run, "layers": layers.run, "startup": startup.run, "growth": growth.run}
    tables = {**default, "overhead": overhead.run, "trees": trees.run}
    parser.add_argument(
        "tables", nargs="*", metavar="TABLE", help=f"{', '.join(tables)} (default: {', '.join(default)})"
    )
    parser.add_argument("--against", type=Path, help="another checkout, for overhead and trees")
    parser.add_argument("--nets", nargs="+", choices=names, default=names, help="for speed and layers (default: all)")
    parser.add_argument("--threads", type=int, default=2, help="threads of each side (default 2)")
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds (default 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="time of a side in a round of speed (default 2)")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="folder for CSV files and figures")
    options = parser.parse_args()
    for unknown in set(options.tables) - set(tables):
        parser.error(f"unknown table {unknown!r}, expected some of {', '.join(tables)}")
    for name in options.tables or default:
        tables[name](options)


if __name__ == "__main__":
    main()
