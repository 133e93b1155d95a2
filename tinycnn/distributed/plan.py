"""A plan on paper: the time of a step of data-parallel training on machines that one does not have."""

from __future__ import annotations

from dataclasses import dataclass

from tinycnn import arguments
from tinycnn.distributed.parallel import BUCKET
from tinycnn.distributed.ring import ring_bytes
from tinycnn.layer_table import Summary


@dataclass(frozen=True)
class Link:
    """A connection between nodes.

    Attributes
    ----------
    bandwidth : float
        Bytes a second that a node sends while it receives as many.
    latency : float
        Seconds that a message takes besides.
    processors : float
        Share of the node's processors that moving bytes takes from computing: 0 where a network card moves them, near 1
        where processes on one machine copy them to each other.
    """

    bandwidth: float
    latency: float
    processors: float = 0.0

    def __post_init__(self) -> None:
        if not arguments.number("Link", "bandwidth", self.bandwidth, 0):
            raise ValueError("Link: bandwidth is 0, expected a number above 0")
        arguments.number("Link", "latency", self.latency, 0)
        arguments.number("Link", "processors", self.processors, 0, 1)


@dataclass(frozen=True)
class Work:
    """A step of one node on its part of the batch, without communication.

    Attributes
    ----------
    forward, backward : float
        Seconds.
    buckets : tuple of (bytes, ready)
        Of gradients, in the order in which backward completes them: ``ready`` seconds after backward began.
    """

    forward: float
    backward: float
    buckets: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        arguments.number("Work", "forward", self.forward, 0)
        arguments.number("Work", "backward", self.backward, 0)

    @classmethod
    def of(cls, table: Summary, forward: float, backward: float, bucket_bytes: int = BUCKET) -> Work:
        """Return the work of a network from its layer table, with float32 gradients.

        Backward goes from the last layer to the first and spends its time where the multiply-adds are.
        """
        total, done, nbytes = max(table.multiply_adds, 1), 0, 0
        buckets = []
        for row in reversed(table.rows):
            done += row.multiply_adds
            nbytes += 4 * row.parameters
            if nbytes >= bucket_bytes:
                buckets.append((float(nbytes), backward * done / total))
                nbytes = 0
        if nbytes:
            buckets.append((float(nbytes), backward))
        return cls(forward, backward, tuple(buckets))


def allreduce_time(nbytes: float, nodes: int, link: Link) -> float:
    """Return the seconds of a ring all-reduce: 2 (N - 1) steps of a message of 1 / N of the bytes.

    >>> allreduce_time(4 * 138_357_544, 4, Link(bandwidth=125e6, latency=0.0))  # VGG-16 at 1 Gb/s
    6.641162112
    """
    arguments.integer("allreduce_time", "nodes", nodes, 1)
    arguments.instance("allreduce_time", "link", link, Link, "a Link")
    return 2 * (nodes - 1) * link.latency + ring_bytes(nodes, nbytes) / link.bandwidth


def step_time(work: Work, nodes: int, link: Link) -> float:
    """Return the seconds of a step on several nodes, each with the work given.

    A bucket's all-reduce begins when its gradients are known and the bucket before it has arrived. The step ends when
    the last bucket has arrived and the processors have finished their work.
    """
    arguments.instance("step_time", "work", work, Work, "a Work")
    free = moving = 0.0
    for nbytes, ready in work.buckets:
        seconds = allreduce_time(nbytes, nodes, link)
        free = max(free, ready) + seconds
        moving += seconds
    return work.forward + max(work.backward + link.processors * moving, free)
