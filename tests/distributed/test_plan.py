"""The plan for machines that one does not have: limits, a case by hand, and the numbers for four networks."""

import pytest

import tinycnn as tc
from tinycnn import nn
from tinycnn.distributed import (
    ALONE,
    GradientSum,
    Link,
    Work,
    allreduce_time,
    gather,
    ring_bytes,
    run,
    share,
    step_time,
    synchronize_batch_norm,
)

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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Link(0, 0.5), "Link: bandwidth is 0, expected a number above 0"),
        (lambda: Link(float("nan"), 0.5), "Link: bandwidth is nan"),
        (lambda: Link(1.0, -1.0), "Link: latency is -1.0"),
        (lambda: Link(1.0, 0.0, 1.5), "Link: processors is 1.5"),
        (lambda: Work(-1.0, 1.0, ()), "Work: forward is -1.0"),
        (lambda: allreduce_time(1.0, 0, SLOW), "allreduce_time: nodes is 0, expected at least 1"),
        (lambda: allreduce_time(-1.0, 2, SLOW), "ring_bytes: nbytes is -1.0, expected at least 0"),
        (lambda: allreduce_time(1.0, 2, None), "allreduce_time: link is a NoneType, expected a Link"),
        (lambda: ring_bytes(1.5, 1.0), "ring_bytes: size is 1.5, expected an integer"),
        (lambda: step_time(None, 2, SLOW), "step_time: work is a NoneType, expected a Work"),
        (lambda: GradientSum(None, ALONE), "GradientSum: parameters is a NoneType, expected a list of parameters"),
        (lambda: GradientSum([], None), "GradientSum: communicator is a NoneType, expected a Communicator"),
        (lambda: GradientSum([], ALONE, -1), "GradientSum: bucket_bytes is -1, expected at least 1"),
        (lambda: synchronize_batch_norm(None, ALONE), "synchronize_batch_norm: model is a NoneType, expected a Module"),
        (lambda: synchronize_batch_norm(nn.BatchNorm2d(2), "x"), "synchronize_batch_norm: communicator is a str"),
        (lambda: gather(ALONE, [1]), "gather: array is a list, expected an array"),
        (lambda: share(ALONE, 3), "share: make is a int, expected a function"),
        (
            lambda: run(print, 1, timeout=2**70),
            "run: timeout is 1180591620717411303424, expected seconds above 0 and at",
        ),
    ],
)
def test_arguments_of_plans_and_ranks_are_named(call, message):
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        call()
