"""An autograder for Gradescope: one zip that carries the grader, the assignment, and the wheels that it needs.

``setup.sh`` runs once, when Gradescope builds its image; ``run_autograder`` for each submission (Gradescope,
"Autograder Specifications").
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from tinycnn.assign import submission
from tinycnn.assign.grading import Draw, grade
from tinycnn.assign.reports.platforms import gradescope
from tinycnn.assign.task import AssignmentError, Task, read

LIMIT_SECONDS = 600  # Gradescope's own default for a submission
_SHARE = 0.5  # of a processor that a submission gets there
_HERE = Path(__file__).parent

_SETUP = """#!/usr/bin/env bash
# Installs the autograder's requirements: from its own wheels if they fit, else from the network.
set -euo pipefail
cd "${AUTOGRADER:-/autograder}/source"

for python in "${PYTHON:-}" python3.13 python3.12 python3.11 python3; do
    if [ -n "$python" ] && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi
    python=
done
if [ -z "$python" ]; then
    apt-get update && apt-get install -y python3.11 python3.11-venv
    python=python3.11
fi
if ! "$python" -m venv venv 2>/dev/null; then
    apt-get update && apt-get install -y "$(basename "$python")-venv"
    "$python" -m venv venv
fi
venv/bin/pip install --quiet --no-index --find-links wheels -r requirements.txt ||
    venv/bin/pip install --quiet --find-links wheels -r requirements.txt
chmod -R go-rwx assignment secret  # the student's code runs as another user
"""

_RUN = """#!/usr/bin/env bash
# Grades one submission; writes results.json whatever happens.
root="${AUTOGRADER:-/autograder}"
export PYTHONPATH="$root/source/lib" NUMBA_NUM_THREADS=1 MPLBACKEND=Agg
exec "${PYTHON:-$root/source/venv/bin/python}" -m tinycnn.assign.pack "$root"
"""

_BROKEN = "The autograder itself failed; this is not your fault. Please tell your teacher."


def pack(task: Task, path: Path, secret: bytes, wheels: Path | None = None) -> list[str]:
    """Write the zip.

    Parameters
    ----------
    task : Task
    path : Path
        The zip.
    secret : bytes
        The course's, from which each student's inputs are drawn.
    wheels : Path, optional
        A folder of wheels for Gradescope's machines, so that nothing has to be downloaded there.

    Returns
    -------
    list of str
        The names in the zip.

    Raises
    ------
    AssignmentError
        If the tests could take longer than Gradescope waits.
    """
    longest = sum(test.seconds for test in task.tests if test.kind != "manual") / _SHARE
    if longest > LIMIT_SECONDS:
        raise AssignmentError(
            f"{task.number}: its tests may take {longest:.0f} s, but Gradescope ends a submission after "
            f"{LIMIT_SECONDS} s: lower the seconds in task.toml"
        )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in _members(task, secret, wheels):
            entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, (0o100000 | mode) << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
        return archive.namelist()


def _members(task: Task, secret: bytes, wheels: Path | None) -> Iterator[tuple[str, bytes, int]]:
    """Return names, contents and modes."""
    yield "setup.sh", _SETUP.encode(), 0o755
    yield "run_autograder", _RUN.encode(), 0o755
    yield "requirements.txt", "".join(f"{line}\n" for line in _requirements()).encode(), 0o644
    yield "secret", secret.hex().encode(), 0o600
    for source in sorted(task.folder.glob("*.*")):
        if source.name != task.file:  # the master is not needed there
            yield f"assignment/{task.name}/{source.name}", source.read_bytes(), 0o644
    package = _HERE.parent
    for source in sorted(package.rglob("*")):
        inside = source.relative_to(package)
        if source.suffix in (".py", ".css", ".typed") and "lessons" not in inside.parts[:1]:
            yield f"lib/tinycnn/{inside.as_posix()}", source.read_bytes(), 0o644
    for wheel in sorted(wheels.glob("*.whl")) if wheels else ():
        yield f"wheels/{wheel.name}", wheel.read_bytes(), 0o644


def _requirements() -> list[str]:
    """Return the requirements of tinycnn, without its extras."""
    try:
        return [line for line in metadata.requires("tinycnn") or () if "extra ==" not in line]
    except metadata.PackageNotFoundError as error:
        raise AssignmentError(
            "tinycnn is not installed here, so its requirements are not known: pip install ."
        ) from error


def run(root: Path) -> None:
    """Grade ``submission/`` and write ``results/results.json``, as ``run_autograder`` does."""
    results = root / "results" / "results.json"
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps({"score": 0, "output": _BROKEN}), encoding="utf-8")
    task = read(next((root / "source" / "assignment").glob("A*")))
    secret = bytes.fromhex((root / "source" / "secret").read_text(encoding="ascii").strip())
    student = _student(root / "submission_metadata.json")
    report = grade(task, submission.read(root / "submission", task, student), Draw(secret, student))
    results.write_text(json.dumps(gradescope(report)), encoding="utf-8")


def _student(path: Path) -> str:
    """Return who handed in: the addresses of all in the group, so that a regrade draws the same inputs."""
    try:
        users = json.loads(path.read_text(encoding="utf-8"))["users"]
        return ",".join(sorted(str(user.get("email") or user.get("id")) for user in users))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "unknown"


if __name__ == "__main__":
    run(Path(sys.argv[1]))
