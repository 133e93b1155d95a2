"""Training that is killed again and again, at random moments, gives the bits of an uninterrupted run.

``pytest -m slow tests/test_kills.py -s`` runs the long form and prints how many kills hit which moment.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")


def start(folder, *options):
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.trained_child", str(folder), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def arrays_of(folder):
    with np.load(folder / "done.npz") as archive:
        return {name: archive[name] for name in archive.files}


def assert_same(folder, other):
    expected, arrays = arrays_of(folder), arrays_of(other)
    assert expected.keys() == arrays.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(arrays[name], array, err_msg=name)


def chain(folder, straight, kills, chance, names=SIGNALS, longest=0.7, early=None):
    """Kill a training so many times, let the last one end, and compare; returns how each process ended."""
    ends: Counter[str] = Counter()
    for _ in range(kills):
        process = start(folder, "--slowly")
        number = getattr(signal, chance.choice([name for name in names if hasattr(signal, name)]))
        if early is None or chance.random() > early:
            process.stdout.readline()  # empty if all is done already
            time.sleep(chance.uniform(0, longest))
        else:
            time.sleep(chance.uniform(0, 3))
        process.send_signal(number)
        status = process.wait(120)
        printed, _ = process.communicate()
        name = signal.Signals(number).name
        assert status in (0, -number, 128 + number), (name, status)
        ends[_moment(name, status, folder, printed.decode().split())] += 1
    process = start(folder)
    assert process.wait(120) == 0, process.stderr.read().decode()
    process.communicate()
    assert_same(straight, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint.safetensors", "done.npz"], "litter"
    return ends


def _moment(name, status, folder, printed):
    """Return which signal hit when, for the table of the long form."""
    if status == 0:
        return f"{name} after the end"
    when = "while a checkpoint was written" if printed[-1:] == ["writes"] else "between checkpoints"
    return f"{name} {when if (folder / 'checkpoint.safetensors').exists() else 'before the first checkpoint'}"


def run_straight(folder):
    process = start(folder)
    assert process.wait(120) == 0, process.stderr.read().decode()
    process.communicate()
    return folder


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Return the folder of an uninterrupted run."""
    return run_straight(tmp_path_factory.mktemp("runs") / "straight")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of this kind are POSIX")
def test_killed_at_random_moments_and_resumed(straight, tmp_path):
    ends = chain(tmp_path / "killed", straight, 2, random.Random(1), ("SIGKILL",))
    assert sum(ends.values()) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="signals of this kind are POSIX")
@pytest.mark.parametrize("name", SIGNALS[1:])
def test_a_signal_saves_and_the_rest_is_resumed(name, straight, tmp_path):
    folder = tmp_path / "stopped"
    process = start(folder, "--slowly")
    process.stdout.readline()
    while not (folder / "checkpoint.safetensors").exists():
        time.sleep(0.01)
    process.send_signal(getattr(signal, name))
    process.communicate(timeout=60)
    assert process.returncode == 128 + getattr(signal, name)
    assert_same(straight, run_straight(folder))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of this kind are POSIX")
def test_many_kills(straight, tmp_path):
    chance, ends = random.Random(7), Counter()
    for number in range(6):
        names = ("SIGKILL",) if number < 4 else SIGNALS
        ends += chain(tmp_path / f"chain{number}", straight, 8, chance, names, early=0.15)
    print("\n" + "\n".join(f"{count:3d} {end}" for end, count in sorted(ends.items())))
    assert sum(ends.values()) == 48
