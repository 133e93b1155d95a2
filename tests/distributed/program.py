"""The program of the ranks in tests, over any communicator: ``mpiexec -n 4 python -m tests.distributed.program
NAME``.
"""

import json
import os
import signal
import sys
import time

import numpy as np

import tinycnn as tc
from tinycnn import distributed, nn
from tinycnn import functional as F
from tinycnn.data import ArrayDataset, DataLoader, transforms
from tinycnn.distributed import ALONE, GradientSum, gather, share, synchronize_batch_norm
from tinycnn.distributed.communicator import gather_text
from tinycnn.training import Callback, Trainer

IMAGES = np.random.default_rng(0).normal(size=(10, 2, 9, 8))
LABELS = np.random.default_rng(1).integers(5, size=10)


# -- the communicator --------------------------------------------------------------------------------------------------


def operations(communicator):
    """Return True if each operation computes the right values on this rank."""
    rank, size = communicator.rank, communicator.size
    good = {"ranks": 0 <= rank < size}
    for length in (0, 1, size - 1, size, 1000, 300_001):
        for dtype in (np.float32, np.float64, np.int64):
            array = np.arange(length, dtype=dtype) + rank
            total = communicator.allreduce(array).wait()
            expected = size * np.arange(length, dtype=dtype) + sum(range(size))
            good[f"sum of {length} {np.dtype(dtype)}"] = total is array and np.array_equal(total, expected)
    noise = np.random.default_rng(rank).normal(size=777).astype(np.float32)
    sums = gather(communicator, communicator.allreduce(noise).wait())
    good["the same bits everywhere"] = len({row.tobytes() for row in sums}) == 1
    requests = [communicator.allreduce(np.full((3, 2), float(rank + k))) for k in range(5)]
    totals = [request.wait() for request in requests]
    good["several under way"] = all((t == sum(range(size)) + k * size).all() for k, t in enumerate(totals))
    good["test() sees the end"] = all(request.test() for request in requests)
    for root in range(size):
        array = np.full(700_000, rank, np.float32)
        communicator.broadcast(array, root)
        good[f"broadcast from {root}"] = bool((array == root).all())
    good["texts"] = gather_text(communicator, "中" * rank) == ["中" * r for r in range(size)]
    tree = {"a": [1, None, {"b": np.arange(6.0).reshape(2, 3)}], "c": np.array(7), "d": "text", "e": np.zeros((0, 2))}
    got = share(communicator, lambda: tree if rank == 0 else None)
    good["share"] = repr(got) == repr(tree)
    communicator.barrier()
    return [name for name, fine in good.items() if not fine]


# -- gradients ---------------------------------------------------------------------------------------------------------


def network(kind):
    """Return convolutions and a connected layer in float64, with batch norm or dropout between them."""
    tc.manual_seed(1)
    between = {"batch norm": [nn.BatchNorm2d(6)], "dropout": [nn.Dropout(0.4)]}
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, bias="norm" not in kind),  # its gradient would be 0
        *between.get(kind.removeprefix("local "), []),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 4, 2, groups=2),
        nn.LocalResponseNorm(3),
        nn.Flatten(),
        nn.Linear(36, 5),
    ).to(np.float64)


def gradients(communicator, kind, bucket_bytes=500):
    """Return gradients of the mean loss of ten images, by parameter, and the batch norm's running statistics."""
    model = network(kind)
    if kind == "batch norm":
        synchronize_batch_norm(model, communicator if communicator.size > 1 else None)
    rank, size, count = communicator.rank, communicator.size, len(IMAGES)
    rows = slice(count * rank // size, count * (rank + 1) // size)
    generator = tc.manual_seed(5)
    generator.row = rows.start
    with GradientSum(model.parameters(), communicator, bucket_bytes) as total:
        loss = F.cross_entropy(model(tc.Tensor(IMAGES[rows])), LABELS[rows])
        loss.backward((rows.stop - rows.start) / count)
        total.finish()
    generator.row = 0
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    return found | {name: array for name, array in model.named_buffers() if name.endswith(("mean", "var"))}


def gaps(communicator):
    """Return, for each kind of network, the largest relative difference of the ranks' gradients from one process's."""
    found = {}
    for kind in ("plain", "dropout", "batch norm", "local batch norm"):
        together, alone = gradients(communicator, kind), gradients(ALONE, kind)
        found[kind] = max(float(np.abs(together[n] - alone[n]).max() / np.abs(alone[n]).max()) for n in alone)
    return found


# -- training ----------------------------------------------------------------------------------------------------------


def in_double(images, rng):
    """Convert to float64, so that one process and several differ by its rounding only."""
    return images.astype(np.float64)


def dataset(count=22, seed=0, augment=True):
    """Return small images, flipped at random."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=count)
    images = rng.integers(0, 200, size=(count, 2, 6, 5)).astype(np.uint8)
    images[np.arange(count), 0, labels] += 55
    steps = [transforms.Normalize((0.4, 0.4), (0.2, 0.3)), in_double]
    flips = [transforms.RandomHorizontalFlip()] if augment else []
    return ArrayDataset(images, labels, "abc", transforms.Compose([*flips, *steps]), "stripes")


def trainer(communicator, path=None, epochs=3, width=4, callbacks=(), data=None):
    """Return a trainer with all that has a state: batch norm, dropout, momentum. Its last batch is smaller (22
    images by 6).
    """
    tc.manual_seed(3 + communicator.rank)  # rank 0's weights are everyone's
    model = nn.Sequential(
        nn.Conv2d(2, width, (3, 2), padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(36 * width, 3),
    ).to(np.float64)
    synchronize_batch_norm(model, communicator if communicator.size > 1 else None)
    optimizer = tc.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    shard = communicator.rank, communicator.size
    return Trainer(
        model,
        DataLoader(data or dataset(), 6, shuffle=True, seed=4, shard=shard),
        optimizer,
        epochs,
        tc.optim.CosineAnnealingLR(optimizer, 12),
        DataLoader(dataset(20, 1, augment=False), 7),
        callbacks=callbacks,
        checkpoint=path,
        quiet=True,
        communicator=communicator,
    )


def summary(done):
    """Return the state after training."""
    rows = [
        [row[name] for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy")] for row in done.history
    ]
    weights = np.concatenate([np.ravel(array).astype(np.float64) for array in done.model.state_dict().values()])
    return {"history": rows, "weights": weights.tolist(), "probabilities": done.evaluation.probabilities.tolist()}


def train(communicator):
    """Train three epochs from the beginning."""
    done = trainer(communicator)
    done.fit()
    return summary(done)


class At(Callback):
    """A callback that acts after a number of batches."""

    def __init__(self, batch, action):
        self.left, self.action = batch, action

    def on_batch_end(self, trainer, loss):
        """Count down."""
        self.left -= 1
        if self.left == 0:
            self.action(trainer)


def train_five_batches(communicator, path):
    """Save after five batches, and stop."""

    def stop(trainer):
        trainer.save()
        raise EOFError

    try:
        trainer(communicator, path, callbacks=[At(5, stop)]).fit()
    except EOFError:
        return "stopped"


def go_on(communicator, path):
    """Train the rest."""
    done = trainer(communicator, path)
    done.resume(path)
    done.fit()
    return summary(done)


# -- accidents ---------------------------------------------------------------------------------------------------------


def accident(communicator, kind, path=None):
    """Let rank 1 do something else than the others."""
    odd = communicator.rank == 1
    actions = {
        "dies": lambda _: os.kill(os.getpid(), signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM),
        "fails": lambda _: 1 / 0,
        "hangs": lambda _: time.sleep(600),
    }
    callbacks = [At(6, actions[kind])] if odd and kind in actions else []
    width = 5 if odd and kind == "another model" else 4
    data = dataset(seed=9) if odd and kind == "other data" else None
    trainer(communicator, path, width=width, callbacks=callbacks, data=data).fit()


def everything(communicator):
    """Run everything that one start of the processes can test."""
    return {"wrong": operations(communicator), "gaps": gaps(communicator), "trained": train(communicator)}


def ranks(communicator):
    """Return the ranks that take part."""
    return communicator.rank


def main(arguments):
    """Call a function of this file with the ranks' communicator; rank 0 prints what all of them return."""
    everyone = distributed.world()
    try:
        answer = globals()[arguments[0]](everyone, *arguments[1:])
    except Exception as error:
        everyone.abort(str(error))
    answers = [json.loads(text) for text in gather_text(everyone, json.dumps(answer))]
    if everyone.rank == 0:
        print(json.dumps({"threads": tc.get_num_threads(), "answers": answers}))


if __name__ == "__main__":
    main(sys.argv[1:])
