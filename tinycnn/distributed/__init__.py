"""Training by several processes: the communicators, data-parallel training, and a plan for more machines."""

from tinycnn.distributed.communicator import ALONE, Communicator, DistributedError, MismatchError, agree, gather, share
from tinycnn.distributed.mpi import launched_rank, world
from tinycnn.distributed.parallel import GradientSum, synchronize_batch_norm
from tinycnn.distributed.plan import Link, Work, allreduce_time, step_time
from tinycnn.distributed.processes import run
from tinycnn.distributed.ring import ring_allreduce, ring_bytes

__all__ = [
    "ALONE",
    "Communicator",
    "DistributedError",
    "GradientSum",
    "Link",
    "MismatchError",
    "Work",
    "agree",
    "allreduce_time",
    "gather",
    "launched_rank",
    "ring_allreduce",
    "ring_bytes",
    "run",
    "share",
    "step_time",
    "synchronize_batch_norm",
    "world",
]


def __dir__() -> list[str]:
    return __all__
