"""Generators: seeds, states, copies and threads."""

import copy
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tinycnn as tc
from tinycnn.random import Generator, default_generator


def draws(generator):
    return [generator.numpy.random(), generator.next_stream(), generator.numpy.normal()]


def test_a_seed_fixes_everything():
    assert draws(Generator(5)) == draws(Generator(np.int64(5))) != draws(Generator(6))
    tc.manual_seed(5)
    assert draws(default_generator()) == draws(Generator(5))


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, True, None, "1", np.bool_(True), float("nan")])
def test_seeds_out_of_range_are_refused_and_change_nothing(seed):
    tc.manual_seed(3)
    expected = draws(Generator(3))
    with pytest.raises(ValueError, match=r"seed is .*, expected an integer"):
        tc.manual_seed(seed)
    assert draws(default_generator()) == expected


def test_the_largest_seed():
    assert draws(Generator(2**64 - 1)) == draws(Generator(np.uint64(2**64 - 1)))


def test_a_state_is_a_copy_and_brings_everything_back():
    generator = Generator(1)
    draws(generator)
    state = generator.get_state()
    kept = copy.deepcopy(state)
    first = draws(generator)
    assert state == kept
    for _ in range(2):
        generator.set_state(state)
        assert draws(generator) == first and state == kept
    other = Generator(9)
    other.set_state(state)
    assert draws(other) == first and other.seed == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("seed"),
        lambda state: state.update(seed=-1),
        lambda state: state.update(streams=1.5),
        lambda state: state.update(streams=-1),
        lambda state: state.update(numpy=None),
        lambda state: state["numpy"].update(bit_generator="MT19937"),
        lambda state: state["numpy"].update(state={"state": "x", "inc": 1}),
    ],
)
def test_a_damaged_state_is_refused_and_changes_nothing(change):
    generator, state = Generator(1), Generator(2).get_state()
    change(state)
    with pytest.raises(ValueError, match="set_state"):
        generator.set_state(state)
    assert generator.seed == 1 and draws(generator) == draws(Generator(1))


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda generator: pickle.loads(pickle.dumps(generator))]
)
def test_a_copy_draws_the_same_and_leaves_the_original_alone(duplicate):
    generator = Generator(4)
    draws(generator)
    other = duplicate(generator)
    drawn = draws(other)
    draws(other)
    assert draws(generator) == drawn


def test_threads_never_get_the_same_stream():
    generator = Generator(0)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            parts = list(pool.map(lambda _: [generator.next_stream() for _ in range(5000)], range(4)))
    finally:
        sys.setswitchinterval(interval)
    assert sorted(number for part in parts for number in part) == list(range(1, 20001))
