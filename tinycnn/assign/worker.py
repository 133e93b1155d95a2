"""A process that grades one submission after the other for :mod:`.batch`: JSON lines in, JSON lines out."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from tinycnn.assign import submission
from tinycnn.assign.grading import Draw, grade
from tinycnn.assign.sandbox import GraderError
from tinycnn.assign.task import read


def main() -> None:
    """Take the task and the secret from the first line; then a submission from each."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    start = json.loads(sys.stdin.readline())
    task, secret = read(Path(start["task"])), bytes.fromhex(start["secret"])
    framework = Path(start["framework"]) if start["framework"] else None
    for line in sys.stdin:
        request = json.loads(line)
        handed_in = submission.read(Path(request["path"]), task, request["student"])
        try:
            answer = grade(task, handed_in, Draw(secret, request["student"]), framework).to_json()
        except GraderError as error:
            answer = {"failure": str(error)}
        try:
            print(json.dumps(answer), file=replies, flush=True)
        except BrokenPipeError:
            os._exit(1)  # the batch is gone


if __name__ == "__main__":
    main()
