"""The order in which to read the package, with the lines of each part: ``python -m tests.reading``.

It prints the table of the README, and with ``--write`` puts it there; a test compares the two.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
HEAD = "| | | lines |\n| --- | --- | --: |\n"
PATH = {
    "tinycnn/autograd.py": "`Function`, the graph, the backward pass; it knows no operation and no loop",
    "tinycnn/tensor.py": "`Tensor`: data, graph, `backward`",
    "tinycnn/kernels/reference/": "every kernel in plain NumPy: the numbers that the framework computes",
    "tinycnn/ops/": "the operations, forward and backward side by side",
    "tinycnn/functional/": "the same by PyTorch's names; arguments are checked",
    "tinycnn/nn/": "layers, and the modules that hold them",
    "tinycnn/models/": "the four networks, as the tables of their papers",
}


def lines(place: str) -> int:
    """Return the number of lines of a file, or of all Python files in a folder."""
    path = ROOT / place
    files = path.rglob("*.py") if path.is_dir() else [path]
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def table() -> str:
    """Return the README's table."""
    counts = {place: lines(place) for place in PATH}
    rows = [f"| `{place}` | {text} | {counts[place]:,} |" for place, text in PATH.items()]
    return HEAD + "\n".join([*rows, f"| | | {sum(counts.values()):,} |"])


if __name__ == "__main__":
    print(table())
    if "--write" in sys.argv[1:]:
        text = README.read_text(encoding="utf-8")
        README.write_text(re.sub(re.escape(HEAD) + r"(\|.*\n)+", table() + "\n", text), encoding="utf-8")
