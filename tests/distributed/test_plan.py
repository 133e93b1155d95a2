"""The plan for machines that one does not have: limits, a case by hand, and the numbers for four networks."""

import pytest

import tinycnn as tc
from tinycnn.distributed import Link, Work, allreduce_time, ring_bytes, step_time

SLOW = Link(bandwidth=100.0, latency=0.5)


def test_an_allreduce_by_hand():
    assert allreduce_time(400.0, 1, SLOW) == 0
    assert allreduce_time(400.0, 2, SLOW) == 2 * 0.5 + 400 / 100
    assert allreduce_time(400.0, 4, SLOW) == 6 * 0.5 + 600 / 100


def test_a_step_by_hand():
    work = Work(forward=1.0, backward=10.0, buckets=((100.0, 2.0), (100.0, 3.0), (200.0, 10.0)))
    assert step_time(work, 1, SLOW) == 11
    # on two nodes: 2 + 2 = 4, then 4 + 2 = 6; the last one waits for backward and takes 1 + 2
    assert step_time(work, 2, SLOW) == 1 + 10 + 3
    # a wire of a tenth: 2 + 11 = 13, 24, 45
    assert step_time(work, 2, Link(10.0, 0.5)) == 1 + 45
    # processors that move the bytes themselves have 2 + 2 + 3 seconds more to do, and half of it with processors=0.5
    assert step_time(work, 2, Link(100.0, 0.5, processors=1.0)) == 1 + 10 + 7
    assert step_time(work, 2, Link(100.0, 0.5, processors=0.5)) == 1 + 10 + 3.5


def test_limits():
    table = tc.summary(tc.models.build("squeezenet1_0", width=0.25))
    work = Work.of(table, 1.0, 2.0, bucket_bytes=10_000)
    assert sum(nbytes for nbytes, _ in work.buckets) == 4 * table.parameters
    ready = [seconds for _, seconds in work.buckets]
    assert ready == sorted(ready) and 0 < ready[0] < ready[-1] <= 2.0
    fast, slow = Link(1e15, 0.0), Link(1.0, 0.0)
    assert step_time(work, 1024, fast) == pytest.approx(3.0, rel=1e-6)
    assert step_time(work, 1024, slow) == pytest.approx(ring_bytes(1024, 4 * table.parameters), rel=0.01)
    times = [step_time(work, nodes, Link(1e6, 1e-3)) for nodes in (1, 2, 4, 64, 1024)]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("parameters", "megabytes", "seconds"),
    [(60_965_224, 365.8, 2.93), (138_357_544, 830.1, 6.64), (25_557_032, 153.3, 1.23), (1_248_424, 7.5, 0.060)],
)
def test_four_networks_on_four_machines_at_one_gigabit(parameters, megabytes, seconds):
    assert ring_bytes(4, 4 * parameters) / 1e6 == pytest.approx(megabytes, abs=0.05)
    assert allreduce_time(4 * parameters, 4, Link(1e9 / 8, 0.0)) == pytest.approx(seconds, abs=0.005)
