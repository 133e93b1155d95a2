"""``python -m benchmarks`` measures all of these, or those that are named, and writes tables and figures.

speed     training and inference of five networks beside PyTorch, share of the machine's limit, peak memory
layers    each of their layers beside PyTorch, forward and backward
startup   import, compilation of the first step, and a later process
growth    time and memory over batch size and depth

Other programs: ``python -m benchmarks.accuracy``, how far results are from PyTorch's; ``benchmarks.compression``, what
makes SqueezeNet 1/510 of AlexNet, and how long that takes; ``benchmarks.communication``, what data-parallel training
sends.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import NETS, growth, layers, speed, startup


def main() -> None:
    """Measure what was asked for."""
    names = [net.name for net in NETS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    tables = {"speed": speed.run, "layers": layers.run, "startup": startup.run, "growth": growth.run}
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"{', '.join(tables)} (default: all)")
    parser.add_argument("--nets", nargs="+", choices=names, default=names, help="for speed and layers (default: all)")
    parser.add_argument("--threads", type=int, default=2, help="threads of each side (default 2)")
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds (default 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="time of a side in a round of speed (default 2)")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="folder for CSV files and figures")
    options = parser.parse_args()
    for unknown in set(options.tables) - set(tables):
        parser.error(f"unknown table {unknown!r}, expected some of {', '.join(tables)}")
    for name in options.tables or tables:
        tables[name](options)


if __name__ == "__main__":
    main()
