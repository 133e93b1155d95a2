"""A small assignment for tests of the machinery: two functions, one public and one hidden test, and a text."""

import numpy as np

from tinycnn.assign import master
from tinycnn.assign.submission import Submission
from tinycnn.assign.task import read

MASTER = '''"""Two functions."""

import numpy as np


def double(x):
    """Twice x."""
    ### BEGIN SOLUTION
    return 2 * np.asarray(x)
    ### END SOLUTION


def total(x, weight):
    """The weighted sum of each row."""
    ### BEGIN SOLUTION
    weighted_rows = x @ weight
    return weighted_rows
    ### END SOLUTION


def words():
    """A text."""
    ### BEGIN SOLUTION
    return "because it is so"
    ### END SOLUTION
'''
PUBLIC = '''"""Public tests."""


def doubles(student, rng, check):
    """Each element twice."""
    for _ in range(2):
        with check.part():
            x = rng.normal(size=(3, 4))
            check.close(student.double(x), 2 * x, {"x unchanged": x})
'''
HIDDEN = '''"""Hidden tests."""


def sums(student, rng, check):
    """Rows are weighted and summed."""
    x, weight = rng.normal(size=(5, 3)), rng.normal(size=3)
    check.close(student.total(x, weight), (x * weight).sum(axis=1))
'''
TASK = """title = "Two functions"
file = "toy.py"
seconds = 1

[public]
doubles = 50

[hidden]
sums = 40

[manual]
words = 10

[[mutants]]
name = "three times"
find = "return 2 * np"
replace = "return 3 * np"
loses = { doubles = 50 }
says = "1.5 times"
"""


def write(folder, **texts):
    """The assignment in a folder; texts by the stem of the file, ``task`` for task.toml."""
    folder.mkdir(parents=True)
    names = {"toy": MASTER, "public": PUBLIC, "hidden": HIDDEN, "task": TASK, "README": "# Toy\n"} | texts
    for name, text in names.items():
        suffix = {"task": ".toml", "README": ".md"}.get(name, ".py")
        (folder / f"{name}{suffix}").write_text(text, encoding="utf-8")
    return read(folder)


def handed_in(text, student="ada"):
    return Submission(student, text.encode())


def solution():
    return handed_in(MASTER)


def stub():
    return handed_in(master.stub(MASTER))


def random_array(*shape):
    return np.random.default_rng(0).normal(size=shape)
