"""Copies are found through renaming and moved functions; the stub's parts are not counted."""

import random

from tests.assign.toy import MASTER
from tinycnn.assign import master
from tinycnn.assign.similarity import fingerprints, pairs, spans

STUB = master.stub(MASTER)
ONE = """
def mean_of_rows(table, weights):
    total = 0
    for row in table:
        for value, weight in zip(row, weights):
            total += value * weight if weight > 0 else 0
    return [total / len(table) for _ in range(len(weights))]

def largest(values):
    best = values[0]
    while values:
        candidate = values.pop()
        if candidate > best:
            best = candidate
    return best
"""
RENAMED = """
def largest(numbers):   # my own work
    winner = numbers[0]
    while numbers:
        c = numbers.pop()
        if c > winner:
            winner = c
    return winner


def mean_of_rows(t, w):
    '''Mine.'''
    s = 0
    for r in t:
        for v, k in zip(r, w):
            s += v * k if k > 0 else 0
    return [s / len(t) for _ in range(len(w))]
"""
OTHER = """
def mean_of_rows(table, weights):
    import numpy as np
    return np.maximum(weights, 0) @ np.asarray(table).T

def largest(values):
    return sorted(values, key=lambda v: -v)[0] if len(values) > 1 else values[0]
"""


def test_a_renamed_and_rearranged_copy_is_found_and_another_solution_is_not():
    found = pairs({"ada": ONE.encode(), "bob": RENAMED.encode(), "cyd": OTHER.encode()}, STUB)
    assert [(pair.one, pair.other) for pair in found] == [("ada", "bob")]
    assert found[0].share > 0.7 and "4-7 = 14-17" in spans(found[0])


def test_shares_are_of_the_smaller_program_and_the_most_similar_come_first():
    sources = {"ada": ONE, "bob": RENAMED, "cyd": ONE + own_work(1) + own_work(2), "dan": ONE}
    found = pairs({name: text.encode() for name, text in sources.items()}, STUB)
    shares = {(pair.one, pair.other): pair.share for pair in found}
    assert shares["ada", "dan"] == 1 and shares["ada", "cyd"] > 0.85
    assert list(shares.values()) == sorted(shares.values(), reverse=True) and len(set(shares.values())) > 1
    least = shares["ada", "bob"]
    assert ("ada", "bob") in [(p.one, p.other) for p in pairs({k: v.encode() for k, v in sources.items()}, STUB, least)]


def test_what_all_were_given_does_not_count():
    assert pairs({"ada": STUB.encode(), "bob": STUB.encode()}, STUB) == []


def own_work(number):
    operators = random.Random(number).choices(["+", "-", "*", "/", "%", "//", "<<", "&"], k=60)
    return f"\ndef own(x): return x {' x '.join(operators)} x\n"


def test_a_way_that_most_of_many_have_does_not_count_and_a_copy_of_the_whole_does():
    many = {f"s{n}": (ONE + own_work(n)).encode() for n in range(8)}
    assert pairs(many, STUB) == []
    copies = pairs(many | {"t0": many["s0"], "t1": many["s0"]}, STUB)
    assert [(pair.one, pair.other) for pair in copies] == [("s0", "t0"), ("s0", "t1"), ("t0", "t1")]
    assert pairs(dict.fromkeys(many, ONE.encode()), STUB)  # all of the class have copied


def test_broken_and_empty_files_are_no_error():
    for source in (b"", b"def f(:", b"'''", b"\xff\xfe", b"x = (\n" * 50):
        assert isinstance(fingerprints(source), dict)
