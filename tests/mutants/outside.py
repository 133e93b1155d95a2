"""Planted mistakes around the core: training, commands, figures, ranks, assignments, lessons."""

from tests.mutants.mutant import Mutant

_RANKS = "tests/distributed/test_processes.py tests/distributed/test_connections.py"

MUTANTS = tuple(
    Mutant(*row)
    for row in (
        # -- training and what it prints
        ("tinycnn/evaluation.py", "if given != count:", "if False:", "tests/test_training.py"),
        (
            "tinycnn/training.py",
            'self._sums["right"] += int(right)',
            'self._sums["right"] = int(right)',
            "tests/test_training.py",
        ),
        (
            "tinycnn/divergence.py",
            'broken[-1].rpartition(".")[0] or broken[-1]',
            'broken[0].rpartition(".")[0] or broken[0]',
            "tests/test_training.py",
        ),
        (
            "tinycnn/summary.py",
            "dilation[axis] * (kernel[axis] - 1), stride[axis]",
            "dilation[axis] * kernel[axis], stride[axis]",
            "tests/test_summary.py",
        ),
        (
            "tinycnn/watch.py",
            "return (square / max(array.size, 1)) ** 0.5",
            "return square**0.5",
            "tests/test_watch.py",
        ),
        ("tinycnn/watch.py", "self.steps % self.every == 0", "True", "tests/test_watch.py"),
        ("tinycnn/random.py", "    self._streams += 1", "    self._streams += 0", "tests/ops tests/nn"),
        # -- ranks
        ("tinycnn/distributed/ring.py", "if step < size - 1:", "if step <= size - 1:", _RANKS),
        ("tinycnn/distributed/ring.py", "if other != own:", "if False:", _RANKS),
        ("tinycnn/distributed/ring.py", "self._compare_with_neighbour()\n            run()", "run()", _RANKS),
        ("tinycnn/distributed/communicator.py", '{array.shape} {array.dtype}"', '{array.size} {array.dtype}"', _RANKS),
        (
            "tinycnn/distributed/connections.py",
            "hmac.compare_digest(bytes(heard), self._token)",
            "len(heard) == len(self._token)",
            _RANKS,
        ),
        ("tinycnn/distributed/connections.py", "line.setblocking(False)", "line.setblocking(True)", _RANKS),
        (
            "tinycnn/distributed/processes.py",
            "if answers and running and now - answered > self.timeout:",
            "if False:",
            _RANKS,
        ),
        (
            "tinycnn/distributed/processes.py",
            "if now - heard[rank] > max(self.timeout, SHORTEST_SILENCE):",
            "if False:",
            _RANKS,
        ),
        ("tinycnn/distributed/processes.py", "            stream.flush()", "            pass", _RANKS),
        (
            "tinycnn/distributed/plan.py",
            "nbytes += 4 * row.parameters",
            "nbytes = 4 * row.parameters",
            "tests/distributed/test_plan.py",
        ),
        (
            "tinycnn/distributed/plan.py",
            "free = max(free, ready) + seconds",
            "free = ready + seconds",
            "tests/distributed/test_plan.py",
        ),
        (
            "tinycnn/distributed/parallel.py",
            "if group and parameter.dtype != group[0].dtype:",
            "if False:",
            "tests/distributed/test_parallel.py",
        ),
    )
)
