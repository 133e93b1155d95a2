"""Print the tests of another checkout that this one no longer has: ``python -m tests.left CHECKOUT``.

A test is known by its id: file, name and parameters. One that was renamed counts as left.
"""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parents[1]


def ids(tree: Path) -> set[str]:
    """Return the ids of the tests that pytest runs by default in a tree."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    env = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True)
    found = {line for line in done.stdout.splitlines() if "::" in line and not line.startswith(("ERROR", "SKIPPED"))}
    if not found:
        sys.exit(f"no test was found in {tree}:\n{done.stdout}{done.stderr}")
    return found


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    before, now = ids(Path(sys.argv[1]).resolve()), ids(HERE)
    print(*sorted(before - now), sep="\n")
    print(f"{len(before - now)} of {len(before)} left; there are {len(now)} now")
