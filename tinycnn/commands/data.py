"""``tinycnn data list`` and ``tinycnn data fetch``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

# Modules that take time to import are imported when the command runs.


def add_data(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command ``data`` and its actions."""
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
    """Return where a data set is, or how to get it."""
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
