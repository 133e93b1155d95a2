"""Training: exact resumption, clean interruption, and a clear end when numbers break."""

import os
import signal

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import nn
from tinycnn.checkpoint import load_checkpoint, save_checkpoint
from tinycnn.data import DataLoader, Glyphs
from tinycnn.data.transforms import Compose, Normalize, RandomCrop
from tinycnn.errors import CheckpointError
from tinycnn.training import Callback, Trainer, TrainingError, evaluate


def trainer(tmp_path=None, epochs=2, lr=0.05, callbacks=(), seed=0):
    """A small net with all that has state: batch norm, dropout, augmentation, momentum, a schedule."""
    tc.manual_seed(seed)
    data = Glyphs(size=8, count=60)
    normalize = Normalize.of(data.images)
    data.transform = Compose([RandomCrop(8, 1), normalize])
    test = Glyphs("test", size=8, count=30, transform=normalize)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(256, 10)
    )
    optimizer = tc.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    schedule = tc.optim.WarmUp(tc.optim.CosineAnnealingLR(optimizer, 12), 2)
    return Trainer(
        model,
        DataLoader(data, 10, shuffle=True, seed=seed),
        optimizer,
        epochs,
        schedule,
        DataLoader(test, 16),
        callbacks=callbacks,
        checkpoint=tmp_path / "c.safetensors" if tmp_path else None,
        quiet=True,
    )


class StopAfter(Callback):
    """Presses Ctrl-C after so many batches."""

    def __init__(self, batches):
        self.left = batches

    def on_batch_end(self, trainer, loss):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGINT)


def bits(run):
    state = run.state_dict()
    return [a.tobytes() for a in state["model"].values()], run.optimizer.param_groups[0]["lr"]


def without_time(history):
    return [{k: v for k, v in row.items() if "second" not in k} for row in history]


@pytest.mark.skipif(os.name == "nt", reason="os.kill cannot send Ctrl-C to this process on Windows")
@pytest.mark.parametrize("batches", [1, 4, 6, 9])
def test_interrupted_and_resumed_equals_straight_bit_for_bit(tmp_path, batches):
    straight = trainer()
    straight.fit()
    first = trainer(tmp_path, callbacks=[StopAfter(batches)])
    first.fit()
    assert first.interrupted
    second = trainer(tmp_path, seed=9)
    second.resume(tmp_path / "c.safetensors")
    second.fit()
    assert bits(second) == bits(straight)
    assert without_time(second.history) == without_time(straight.history)


def test_same_seed_same_bits_and_another_seed_others():
    runs = [trainer(seed=seed) for seed in (3, 3, 4)]
    results = []
    for run, seed in zip(runs, (3, 3, 4)):
        tc.manual_seed(seed)
        run.fit()
        results.append(bits(run)[0])
    assert results[0] != results[2]


def test_history_and_callbacks():
    seen = []

    class Watch(Callback):
        def on_epoch_begin(self, trainer):
            seen.append("begin")

        def on_batch_end(self, trainer, loss):
            seen.append(loss)

        def on_epoch_end(self, trainer):
            seen.append(trainer.history[-1]["epoch"])

    history = trainer(callbacks=[Watch()]).fit()
    assert [row["epoch"] for row in history] == [1, 2]
    assert seen[0] == "begin" and seen[7] == 1 and seen[-1] == 2 and len(seen) == 16
    assert set(history[0]) >= {"train_loss", "train_accuracy", "test_loss", "test_accuracy", "lr", "images_per_second"}


def test_evaluation_counts_by_hand():
    class Fixed(nn.Module):
        def forward(self, x):
            return tc.Tensor(np.eye(10, dtype=np.float32)[[0, 1, 2, 3, 3, 3, 6, 7, 8, 9]][: len(x)] * 5)

    data = Glyphs(size=8, count=10, transform=Normalize([0.5], [0.5]))
    result = evaluate(Fixed(), DataLoader(data, 10))
    assert result.accuracy == 0.8 and result.confusion[4, 3] == 1 == result.confusion[5, 3]
    np.testing.assert_allclose(result.probabilities.sum(axis=1), 1, rtol=1e-6)
    assert result.loss == pytest.approx(
        np.mean([np.log(np.exp(5) + 9) - 5 * right for right in [1] * 8 + [0] * 2]), 1e-5
    )


def test_evaluation_puts_the_mode_back():
    run = trainer()
    run.model.train()
    evaluate(run.model, run.validation)
    assert run.model.training and run.model[1].training


def test_a_parameter_that_explodes_is_named():
    class Explode(Callback):
        def on_batch_end(self, trainer, loss):
            trainer.model[5].weight.data[0, 0] = np.inf

    run = trainer(callbacks=[Explode()])
    with np.errstate(all="ignore"), pytest.raises(TrainingError, match=r"stopped\. Parameter 5\.weight is not finite"):
        run.fit()


def test_the_first_layer_that_is_not_finite_is_named():
    class Breaks(nn.Module):
        def forward(self, x):
            return x * float("nan")

    run = trainer()
    run.model = nn.Sequential(nn.Flatten(), nn.Linear(64, 20), Breaks(), nn.Linear(20, 10))
    with pytest.raises(TrainingError, match=r"It began in the output of layer 2 \(Breaks\)"):
        run.fit()


def test_images_that_are_not_finite_are_named():
    run = trainer()
    run.loader.dataset.transform = lambda images, rng: np.full(images.shape, np.nan, np.float32)
    with pytest.raises(TrainingError, match="The batch of images holds values that are not finite"):
        run.fit()


def test_checkpoint_round_trip_of_a_tree(tmp_path):
    state = {"a": [1, 2.5, None, "x"], "b": {"c": np.arange(4.0), "d": [np.ones(2, np.float32), True]}, "big": 2**100}
    save_checkpoint(tmp_path / "t.safetensors", state)
    loaded = load_checkpoint(tmp_path / "t.safetensors")
    assert loaded["a"] == state["a"] and loaded["big"] == 2**100 and loaded["b"]["d"][1] is True
    np.testing.assert_array_equal(loaded["b"]["c"], state["b"]["c"])


@pytest.mark.parametrize("share", [0.0, 0.2, 0.9])
def test_a_truncated_checkpoint_is_refused(tmp_path, share):
    run = trainer(tmp_path)
    run.save()
    path = tmp_path / "c.safetensors"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(CheckpointError, match="is damaged"):
        run.resume(path)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    run = trainer(tmp_path)
    run.save()
    run.model = nn.Linear(2, 3)
    with pytest.raises(CheckpointError, match="the checkpoint does not fit: load_state_dict"):
        run.resume(tmp_path / "c.safetensors")


def test_weights_are_no_checkpoint(tmp_path):
    nn.Linear(2, 3).save(tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="has format None, expected 1"):
        load_checkpoint(tmp_path / "w.safetensors")


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    run = trainer(tmp_path)
    run.save()
    before = (tmp_path / "c.safetensors").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot write .* \(No space left on device\); what was there is unchanged"):
        run.save()
    assert (tmp_path / "c.safetensors").read_bytes() == before
