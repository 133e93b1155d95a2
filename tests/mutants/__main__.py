"""Plant every mistake of the list and print which ones the tests notice: ``python -m tests.mutants --jobs 2``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.listed import LISTED, SURVIVORS
from tests.mutants.mutant import Mutant, Tree


def main() -> int:
    """Run the mistakes that were asked for; 0 if all but the listed survivors are noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--room", action="append", help="a room such as ops; may be given several times")
    parser.add_argument("--only", default="", help="a part of a file's name or of a mistake's text")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="print the mistakes and plant none")
    options = parser.parse_args()
    chosen = [
        mutant
        for mutant in (*LISTED, *SURVIVORS)
        if (not options.room or mutant.room in options.room) and options.only in f"{mutant.file} {mutant.old}"
    ]
    flaws = [flaw for flaw in (mutant.flaw() for mutant in chosen) if flaw]
    print(*flaws, sep="\n", end="\n" if flaws else "")
    if options.list or flaws:
        print(*(f"{m.room}: {m.file}: {m.old!r} -> {m.new!r} ({m.tests})" for m in chosen), sep="\n")
        return bool(flaws)
    return _report(chosen, _plant(chosen, options.jobs))


def _plant(chosen: list[Mutant], jobs: int) -> list[bool]:
    """Return for each mistake whether its tests notice it; each job has a tree of its own."""
    with tempfile.TemporaryDirectory(prefix="tinycnn-mutants-") as folder:
        trees: SimpleQueue[Tree] = SimpleQueue()
        for number in range(jobs):
            trees.put(Tree(Path(folder) / str(number)))

        def one(mutant: Mutant) -> bool:
            tree = trees.get()
            try:
                noticed = tree.notices(mutant)
            finally:
                trees.put(tree)
            print("noticed " if noticed else "SURVIVED", f"{mutant.file}: {mutant.new.strip()!r}", flush=True)
            return noticed

        with ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(one, chosen))


def _report(chosen: list[Mutant], noticed: list[bool]) -> int:
    rooms: dict[str, list[bool]] = defaultdict(list)
    for mutant, good in zip(chosen, noticed):
        rooms[mutant.room].append(good)
    for room, results in sorted(rooms.items()):
        print(f"{room:20} {sum(results):3} of {len(results):3} noticed")
    print(f"{'all':20} {sum(noticed):3} of {len(noticed):3} noticed ({sum(noticed) / max(len(noticed), 1):.1%})")
    return 0 if all(good or mutant in SURVIVORS for mutant, good in zip(chosen, noticed)) else 1


if __name__ == "__main__":
    sys.exit(main())
