"""A small training as a process of its own: ``python -m tests.trained_child FOLDER [--slowly]``.

It resumes from FOLDER/checkpoint.safetensors if that exists, saves after every step, prints a line after the first, and
writes FOLDER/done.npz with everything that training changed. ``--slowly`` leaves time for signals between steps and in
the middle of a write, and prints lines when a write begins and ends.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np

import tinycnn as tc
from tinycnn import nn, random, training
from tinycnn.data import ArrayDataset, DataLoader, transforms

EPOCHS = 12


class Begins(training.Callback):
    """A callback that prints a line after the first step, and leaves time for signals between steps."""

    def __init__(self, slowly):
        self.slowly, self.printed = slowly, False

    def on_batch_end(self, trainer, loss):
        if not self.printed:
            print("begins", flush=True)
        self.printed = True
        time.sleep(0.03 * self.slowly)


def build(folder, slowly=False):
    """Return the same trainer every time: dropout, batch norm, augmentation, shuffling, momentum and a schedule."""
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=38)
    images = rng.integers(0, 200, size=(38, 1, 6, 6)).astype(np.uint8)
    images[np.arange(38), 0, labels] += 55
    steps = transforms.Compose([transforms.RandomHorizontalFlip(), transforms.Normalize((0.4,), (0.3,))])
    data = ArrayDataset(images, labels, ("cat", "dog", "eel"), steps)
    tc.manual_seed(3)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(64, 3)
    )
    optimizer = tc.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return training.Trainer(
        model,
        DataLoader(data, 5, shuffle=True, seed=4),
        optimizer,
        EPOCHS,
        schedule=tc.optim.CosineAnnealingLR(optimizer, 8 * EPOCHS),
        validation=DataLoader(data, 20),
        checkpoint=folder / "checkpoint.safetensors",
        callbacks=[Begins(slowly)],
        quiet=True,
    )


def slow_fsync(file, to_disk=os.fsync):
    """Bring a file to the disk, and leave time for a signal."""
    to_disk(file)
    sys.stdout.flush()
    time.sleep(0.03)


def main(folder, slowly):
    """Train, or resume; the exit status is 128 + n after signal n."""
    training.saving.SAVE_EVERY = 0.0
    if slowly:
        os.fsync = slow_fsync
        save = training.saving.save_checkpoint
        training.saving.save_checkpoint = lambda *arguments: (print("writes"), save(*arguments), print("wrote"))
    trainer = build(folder, slowly)
    if (folder / "checkpoint.safetensors").exists():
        trainer.resume(folder / "checkpoint.safetensors")
    trainer.fit()
    if trainer.interrupted:
        return 128 + trainer.signal
    numbers = [[row[name] for name in ("epoch", "train_loss", "test_loss", "lr")] for row in trainer.history]
    arrays = dict(trainer.model.state_dict(), history=np.array(numbers))
    arrays |= {f"momentum{number}": state["momentum_buffer"] for number, state in trainer.optimizer.state.items()}
    arrays["generator"] = np.array(str(random.default_generator().get_state()))
    np.savez(folder / "done.npz", **arrays)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), "--slowly" in sys.argv))
