"""Training: resumption to the bit, a clean stop, and errors with their place."""

import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import functional as F
from tinycnn import nn, random
from tinycnn.checkpoint import load_checkpoint, save_checkpoint
from tinycnn.data import ArrayDataset, DataLoader, transforms
from tinycnn.errors import CheckpointError
from tinycnn.progress import Progress
from tinycnn.training import Callback, Trainer, TrainingError, evaluate

CLASSES = ("cat", "dog", "eel")


def images_and_labels(count=22, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=count)
    images = rng.integers(0, 200, size=(count, 2, 6, 5)).astype(np.uint8)
    images[np.arange(count), 0, labels] += 55
    return images, labels


def dataset(seed=0, augment=True):
    """Return 22 images of 6x5 pixels, augmented at random."""
    steps = [transforms.RandomHorizontalFlip(), transforms.ColorJitter(), transforms.Cutout(2)] if augment else []
    return ArrayDataset(
        *images_and_labels(seed=seed),
        CLASSES,
        transforms.Compose([*steps, transforms.Normalize((0.4, 0.4), (0.2, 0.3))]),
    )


def network():
    """Return a network with all that has a state: batch norm and dropout."""
    return nn.Sequential(
        nn.Conv2d(2, 4, (3, 2), padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(144, 3),
    )


OPTIMIZERS = {
    "sgd, cosine after a warm-up": (
        lambda p: tc.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
        lambda o: tc.optim.WarmUp(tc.optim.CosineAnnealingLR(o, 12), 3),
    ),
    "adam, steps": (lambda p: tc.optim.Adam(p, lr=1e-2), lambda o: tc.optim.MultiStepLR(o, [3, 7])),
    "adamw, constant": (lambda p: tc.optim.AdamW(p, lr=1e-2), lambda o: None),
}


def trainer(kind="sgd, cosine after a warm-up", epochs=3, path=None, callbacks=(), prefetch=2, **options):
    """Return the same trainer every time, from one seed."""
    tc.manual_seed(3)
    make_optimizer, make_schedule = OPTIMIZERS[kind]
    model = network()
    optimizer = make_optimizer(model.parameters())
    return Trainer(
        model,
        DataLoader(dataset(), 5, shuffle=True, seed=4, prefetch=prefetch),
        optimizer,
        epochs,
        schedule=make_schedule(optimizer),
        validation=DataLoader(dataset(1, augment=False), 7),
        checkpoint=path,
        callbacks=callbacks,
        quiet=True,
        **options,
    )


class Killed(Exception):
    """The exception in place of a death of the process."""


class At(Callback):
    """A callback that acts after a number of batches."""

    def __init__(self, batch, action):
        self.left, self.action = batch, action

    def on_batch_end(self, trainer, loss):
        self.left -= 1
        if self.left == 0:
            self.action(trainer)


def kill(trainer):
    raise Killed


def everything(trainer):
    """Return everything that training changes: arrays by name, and plain values."""
    arrays = dict(trainer.model.state_dict())
    for number, state in trainer.optimizer.state.items():
        arrays |= {f"{number}.{name}": np.asarray(value) for name, value in state.items()}
    rows = [{k: v for k, v in row.items() if not k.startswith(("seconds", "images"))} for row in trainer.history]
    plain = rows, random.default_generator().get_state(), trainer.optimizer.param_groups[0]["lr"]
    return arrays, plain


def assert_same(one, other):
    assert one[0].keys() == other[0].keys()
    for name, array in one[0].items():
        np.testing.assert_array_equal(array, other[0][name], err_msg=name)
    assert one[1] == other[1]


# -- fit ---------------------------------------------------------------------------------------------------------------


def test_fit_learns_and_writes_a_row_an_epoch():
    learner = trainer("adamw, constant", epochs=30)
    history = learner.fit()
    assert [row["epoch"] for row in history] == list(range(1, 31))
    assert history[-1]["train_loss"] < 0.6 * history[0]["train_loss"]
    assert list(history[0]) == [
        *("epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "lr", "seconds", "images_per_second"),
    ]
    assert learner.evaluation.loss == history[-1]["test_loss"]


def test_callbacks_are_called_in_order():
    seen = []

    class Witness(Callback):
        def on_epoch_begin(self, trainer):
            seen.append("begin")

        def on_gradients(self, trainer):
            assert all(parameter.grad is not None for parameter in trainer.model.parameters())
            self.before = next(trainer.model.parameters()).data.copy()
            seen.append("gradients")

        def on_batch_end(self, trainer, loss):
            assert np.isfinite(loss) and not np.array_equal(self.before, next(trainer.model.parameters()).data)
            seen.append("batch")

        def on_epoch_end(self, trainer):
            seen.append(f"end {trainer.history[-1]['epoch']}")

    trainer(epochs=2, callbacks=[Witness()]).fit()
    epoch = ["begin", *["gradients", "batch"] * 5]
    assert seen == [*epoch, "end 1", *epoch, "end 2"]


def test_same_seed_gives_the_same_bits_with_and_without_prefetch():
    one, other = trainer(prefetch=0), trainer(prefetch=3)
    one.fit()
    first = everything(one)
    tc.manual_seed(3)
    other = trainer(prefetch=3)
    other.fit()
    assert_same(first, everything(other))


def test_an_epoch_without_a_batch_is_refused():
    model = network()
    with pytest.raises(ValueError, match="22 images make no batch of 50; take a smaller batch_size"):
        Trainer(model, DataLoader(dataset(), 50, drop_last=True), tc.optim.SGD(model.parameters(), lr=0.1), 1)


# -- resuming ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batches", [1, 5, 6, 13])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_killed_and_resumed_gives_the_bits_of_a_straight_run(kind, batches, tmp_path):
    straight = trainer(kind)
    straight.fit()
    expected = everything(straight)

    path = tmp_path / "checkpoint.safetensors"
    killed = trainer(kind, path=path, callbacks=[At(batches, Trainer.save), At(batches + 1, kill)])
    with pytest.raises(Killed):
        killed.fit()

    resumed = trainer(kind, path=path)
    tc.manual_seed(99)
    resumed.resume(path)
    resumed.fit()
    assert_same(everything(resumed), expected)


def test_augmented_validation_images_are_those_of_a_straight_run(tmp_path):
    def augmented(**options):
        learner = trainer("adamw, constant", **options)
        learner.validation = DataLoader(dataset(1), 7)
        return learner

    straight = augmented()
    losses = [row["test_loss"] for row in straight.fit()]
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Killed):
        augmented(path=path, callbacks=[At(7, kill)]).fit()
    resumed = augmented()
    resumed.resume(path)
    for _ in range(3):
        list(resumed.validation)
    assert [row["test_loss"] for row in resumed.fit()] == losses


def test_a_kill_without_warning_costs_at_most_the_epoch(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Killed):
        trainer(path=path, callbacks=[At(8, kill)]).fit()
    resumed = trainer(path=path)
    resumed.resume(path)
    assert (resumed.loader.epoch, resumed.loader.position, len(resumed.history)) == (1, 0, 1)


def test_a_long_epoch_is_saved_in_between(tmp_path, monkeypatch):
    monkeypatch.setattr("tinycnn.training.saving.SAVE_EVERY", 0.0)
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Killed):
        trainer(path=path, callbacks=[At(3, kill)]).fit()
    resumed = trainer(path=path)
    resumed.resume(path)
    assert (resumed.loader.epoch, resumed.loader.position) == (0, 2)


STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]


@pytest.mark.parametrize(("batch", "number"), [(1, signal.SIGINT), (5, signal.SIGINT), *((7, n) for n in STOPPING)])
def test_a_signal_finishes_the_step_and_the_rest_can_be_resumed(batch, number, tmp_path, capfd):
    straight = trainer()
    straight.fit()
    expected = everything(straight)

    path = tmp_path / "checkpoint.safetensors"
    stopped = trainer(path=path, callbacks=[At(batch, lambda _: signal.raise_signal(number))])
    before = [signal.getsignal(each) for each in STOPPING]
    stopped.fit()
    assert stopped.interrupted and stopped.signal == number
    assert [signal.getsignal(each) for each in STOPPING] == before
    assert "finishing this step, then saving" in capfd.readouterr().err
    assert (stopped.loader.epoch, stopped.loader.position) == divmod(batch, 5)

    resumed = trainer(path=path)
    resumed.resume(path)
    resumed.fit()
    assert not resumed.interrupted
    assert_same(everything(resumed), expected)


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_before_the_first_step_stops_at_once_as_nothing_is_lost(number, tmp_path):
    class Compiling(Callback):
        def on_epoch_begin(self, trainer):
            signal.raise_signal(number)

    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit) as caught:
        trainer(path=path, callbacks=[Compiling()]).fit()
    assert number == signal.SIGINT or caught.value.code == 128 + number
    assert not path.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_stops_at_once_and_keeps_the_checkpoint(number, tmp_path):
    def press_twice(_):
        signal.raise_signal(number)
        signal.raise_signal(number)

    path = tmp_path / "checkpoint.safetensors"
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit):
        trainer(path=path, callbacks=[At(7, press_twice)]).fit()
    assert signal.getsignal(number) is before
    resumed = trainer(path=path)
    resumed.resume(path)
    assert resumed.loader.epoch == 1


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no terminals that hang up here")
def test_a_terminal_that_closes_sends_several_signals_and_may_be_gone(tmp_path, monkeypatch):
    def close(_):
        monkeypatch.setattr("os.write", gone)
        for _ in range(3):
            signal.raise_signal(signal.SIGHUP)

    def gone(*_):
        raise OSError(5, "Input/output error")

    path = tmp_path / "checkpoint.safetensors"
    stopped = trainer(path=path, callbacks=[At(7, close)])
    stopped.fit()
    monkeypatch.undo()
    assert stopped.signal == signal.SIGHUP and (stopped.epoch, stopped.position) == (1, 2)
    resumed = trainer(path=path)
    resumed.resume(path)
    assert (resumed.epoch, resumed.position) == (1, 2)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="nohup is POSIX")
def test_a_signal_that_is_ignored_stays_ignored(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        learner = trainer(
            path=tmp_path / "checkpoint.safetensors", callbacks=[At(2, lambda _: signal.raise_signal(signal.SIGHUP))]
        )
        assert len(learner.fit()) == 3 and not learner.interrupted
    finally:
        signal.signal(signal.SIGHUP, before)


def test_without_a_checkpoint_sigterm_keeps_its_handler():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        learner = trainer(callbacks=[At(2, lambda _: signal.raise_signal(signal.SIGTERM))])
        learner.fit()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM] and not learner.interrupted


# -- places that fail --------------------------------------------------------------------------------------------------


def test_a_folder_that_vanishes_is_made_again_and_nothing_is_lost(tmp_path, capsys):
    folder = tmp_path / "run"
    path = folder / "checkpoint.safetensors"
    learner = trainer(path=path, callbacks=[At(7, lambda _: shutil.rmtree(folder))])
    assert len(learner.fit()) == 3
    assert load_checkpoint(path)["loader"]["epoch"] == 3
    assert "was removed while training; it was made again" in capsys.readouterr().err


def test_a_link_that_leads_to_itself_and_places_that_are_gone_lose_nothing(tmp_path, monkeypatch):
    folder, home = tmp_path / "run", tmp_path / "home"
    home.mkdir()

    def gone():
        raise FileNotFoundError(2, "No such file or directory")

    def spoil(_):
        shutil.rmtree(folder)
        folder.symlink_to(folder)
        monkeypatch.setattr("tempfile.gettempdir", gone)
        monkeypatch.setattr("os.getcwd", gone)
        monkeypatch.setattr(Path, "home", lambda: home)

    learner = trainer(path=folder / "checkpoint.safetensors", callbacks=[At(7, spoil)])
    with pytest.raises(OSError, match=r"checkpoint.*saved instead as .*home"):
        learner.fit()
    (saved,) = home.glob("run-saved-*/checkpoint.safetensors")
    assert load_checkpoint(saved)["loader"]["epoch"] == 2


def test_a_checkpoint_that_cannot_be_written_is_saved_elsewhere_and_the_error_names_the_place(tmp_path, monkeypatch):
    folder, other = tmp_path / "run", tmp_path / "other"
    other.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(other))

    def full(path, state):
        if Path(path).parent == folder:
            raise OSError(28, f"cannot write {path} (No space left on device)")
        save_checkpoint(path, state)

    path = folder / "checkpoint.safetensors"
    learner = trainer(
        path=path, callbacks=[At(7, lambda _: monkeypatch.setattr("tinycnn.training.saving.save_checkpoint", full))]
    )
    with pytest.raises(
        OSError, match=r"cannot write .*No space left on device\); saved instead as .*other.*"
    ) as caught:
        learner.fit()
    (saved,) = other.glob("*/checkpoint.safetensors")
    assert str(saved) in str(caught.value)
    assert load_checkpoint(saved)["loader"]["epoch"] == 2 and load_checkpoint(path)["loader"]["epoch"] == 1
    monkeypatch.undo()
    straight, resumed = trainer(), trainer()
    straight.fit()
    expected = everything(straight)
    resumed = trainer()
    resumed.resume(saved)
    resumed.fit()
    assert_same(everything(resumed), expected)


def test_too_little_room_and_a_path_that_is_none_are_found_before_the_first_step(tmp_path, monkeypatch):
    steps = []
    callbacks = [At(1, steps.append)]
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OSError, match=r"cannot write into .*file.*nothing was started"):
        trainer(path=tmp_path / "file" / "checkpoint.safetensors", callbacks=callbacks).fit()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=3000))
    with pytest.raises(OSError, match=r"needs about 0\.0 MB .* has 0\.0 MB free: nothing was started"):
        trainer(path=tmp_path / "new" / "checkpoint.safetensors", callbacks=callbacks).fit()
    assert not steps and not list(tmp_path.rglob("*.tmp"))


def test_resuming_what_does_not_fit_says_why(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    trainer(path=path, epochs=1).fit()
    with pytest.raises(CheckpointError, match="resume: optimizer is SGD in the checkpoint, but Adam here"):
        trainer("adam, steps").resume(path)
    other = trainer()
    other.model = nn.Sequential(nn.Linear(5, 7))
    with pytest.raises(CheckpointError, match=r"(?s)does not fit.*unexpected: 1.weight.*mis-shaped: 0.weight"):
        other.resume(path)
    smaller = trainer()
    smaller.loader = DataLoader(dataset(), 11)
    with pytest.raises(CheckpointError, match="batches in an epoch is 5 in the checkpoint, but 2 here"):
        smaller.resume(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("model"), "'model'"),
        (lambda state: state.update(loader=[]), "loader"),
        (lambda state: state.update(loader={"seed": 0, "epoch": "one", "position": 0}), "epoch is 'one'"),
        (lambda state: state.update(history=[{"epoch": 1}]), "history is not a list of rows of numbers"),
        (lambda state: state.update(sums={"images": "x"}), "sums are"),
        (lambda state: state.update(generator=7), "not subscriptable"),
        (lambda state: state.update(kinds=[]), "model is None in the checkpoint, but Sequential here"),
    ],
)
def test_a_checkpoint_with_another_tree_is_refused_with_its_name(change, message, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    trainer(path=path, epochs=1).fit()
    state = load_checkpoint(path)
    change(state)
    save_checkpoint(path, state)
    with pytest.raises(CheckpointError) as caught:
        trainer().resume(path)
    assert message in str(caught.value) and str(path) in str(caught.value)


# -- a loss that is not finite -----------------------------------------------------------------------------------------


class Poison(tc.Function):
    """The identity; its gradient is NaN."""

    def forward(self, x):
        return x.copy()

    def backward(self, grad):
        return grad * np.nan


class PoisonLayer(nn.Module):
    """The layer of :class:`Poison`."""

    def forward(self, x):
        return Poison.apply(x)


def broken_trainer(model, images=None, path=None):
    data = dataset(augment=False)
    if images is not None:
        data = ArrayDataset(images, data.labels, CLASSES)
    optimizer = tc.optim.SGD(model.parameters(), lr=0.1)
    return Trainer(model, DataLoader(data, 5), optimizer, 1, checkpoint=path, quiet=True)


def test_a_layer_that_overflows_is_named():
    model = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(60, 8), nn.Linear(8, 3)), nn.Identity())
    model[1][1].weight.data[...] = 3e38
    with pytest.raises(TrainingError) as caught:
        broken_trainer(model).fit()
    assert "training stopped. It began in the output of layer 1.1 (Linear); lower --lr" in str(caught.value)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_the_layer_whose_gradient_broke_is_named_and_no_broken_checkpoint_is_written(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(60, 7), nn.Linear(7, 6), PoisonLayer(), nn.Linear(6, 4), nn.Linear(4, 3)
    )
    learner = broken_trainer(model, path=path)
    learner.save()
    before = path.read_bytes()
    with pytest.raises(TrainingError, match=r"the loss is nan: .* began in the gradient of layer 2: .*2\.bias"):
        learner.fit()
    with pytest.raises(TrainingError, match="gradient of layer 2"):
        learner.save()
    assert path.read_bytes() == before


def test_images_that_are_not_finite_are_named():
    images = np.ones((22, 2, 6, 5), np.float32)
    images[7, 1, 5, 4] = np.inf
    with pytest.raises(TrainingError, match="The batch of images holds values that are not finite"):
        broken_trainer(nn.Sequential(nn.Flatten(), nn.Linear(60, 3)), images).fit()


# -- evaluate ----------------------------------------------------------------------------------------------------------


class Fixed(nn.Module):
    """A model that returns rows of a table, one call after another."""

    def __init__(self, table):
        super().__init__()
        self.table, self.at = table, 0

    def forward(self, x):
        assert not self.training
        self.at += len(x.data)
        return tc.Tensor(self.table[self.at - len(x.data) : self.at])


def test_evaluate_counts_by_hand():
    rng = np.random.default_rng(5)
    table, labels = rng.normal(size=(23, 7)), rng.integers(7, size=23)
    data = ArrayDataset(np.zeros((23, 1, 3, 2), np.float32), labels, "abcdefg")
    model = Fixed(table).train()
    result = evaluate(model, DataLoader(data, 5))
    ranks = (table > table[np.arange(23), labels][:, None]).sum(axis=1)
    assert result.accuracy == np.mean(ranks == 0)
    assert result.top5 == np.mean(ranks < 5)
    expected = np.zeros((7, 7), int)
    for true, guess in zip(labels, table.argmax(axis=1)):
        expected[true, guess] += 1
    np.testing.assert_array_equal(result.confusion, expected)
    exps = np.exp(table)
    np.testing.assert_allclose(result.probabilities, exps / exps.sum(axis=1, keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(result.loss, -np.log(result.probabilities[np.arange(23), labels]).mean(), rtol=1e-12)
    assert model.training


def test_a_model_of_another_number_of_classes_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(60, 4))
    message = r"the model gives an output of shape \(5, 4\), expected \(5, 3\): 5 images, 3 classes"
    with pytest.raises(ValueError, match=message):
        evaluate(model, DataLoader(dataset(), 5))
    with pytest.raises(ValueError, match=message):
        broken_trainer(model).fit()


class AlwaysZero(nn.Module):
    """A model that takes every image for class 0."""

    def forward(self, x):
        return tc.Tensor(np.tile(np.float32([9, 0, 0]), (len(x.data), 1)))


def all_of_class_1(count=10):
    return ArrayDataset(np.zeros((count, 1, 2, 2), np.float32), np.ones(count, int), CLASSES)


def test_evaluate_starts_a_whole_epoch_and_counts_no_image_that_it_has_not_seen():
    loader = DataLoader(all_of_class_1(), 4)
    next(iter(loader))
    result = evaluate(AlwaysZero(), loader)
    assert result.accuracy == 0 and result.confusion.tolist() == [[0, 0, 0], [10, 0, 0], [0, 0, 0]]


def test_an_image_whose_output_holds_nan_is_wrong_whatever_its_class():
    class NanForDark(nn.Module):
        def forward(self, x):
            scores = np.tile(np.float32([9, 0, 0]), (len(x.data), 1))
            scores[x.data.sum(axis=(1, 2, 3)) == 0, 1] = np.nan
            return tc.Tensor(scores)

    images = np.zeros((4, 1, 2, 2), np.float32)
    images[0] = 1
    result = evaluate(NanForDark(), DataLoader(ArrayDataset(images, np.zeros(4, int), CLASSES), 4))
    assert result.accuracy == result.top5 == 1 / 4
    assert result.confusion.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]] and np.isnan(result.loss)


def test_evaluate_refuses_a_loader_that_gives_another_number_of_images():
    with pytest.raises(ValueError, match="the loader gives 8 of 10 images; make it with drop_last=False"):
        evaluate(AlwaysZero(), DataLoader(all_of_class_1(), 4, drop_last=True))
    assert evaluate(AlwaysZero(), DataLoader(all_of_class_1(), 5, drop_last=True)).accuracy == 0
    loader = DataLoader(all_of_class_1(), 4)
    loader.load_state_dict({"seed": 0, "epoch": 0, "position": 1})
    with pytest.raises(ValueError, match="the loader starts after batch 1 of 3"):
        evaluate(AlwaysZero(), loader)
    with pytest.raises(ValueError, match=r"shard \(0, 2\).* communicator is rank 0 of 1"):
        evaluate(AlwaysZero(), DataLoader(all_of_class_1(), 4, shard=(0, 2)))


class HalfOfTwo:
    """A communicator of two ranks; it adds recorded arrays of the other rank."""

    rank, size = 0, 2

    def __init__(self, others):
        self.others = list(others)

    def allreduce(self, array):
        class Request:
            def wait(_):
                return array + self.others.pop(0)

        return Request()


def test_evaluate_of_shards_puts_each_image_in_its_row():
    table = np.random.default_rng(0).normal(size=(10, 3))
    data = ArrayDataset(np.arange(40).reshape(10, 1, 2, 2) / 4.0, np.arange(10) % 3, CLASSES)

    class Lookup(nn.Module):
        def forward(self, x):
            return tc.Tensor(table[x.data[:, 0, 0, 0].astype(int)])

    whole = evaluate(Lookup(), DataLoader(data, 4))
    rows_here = np.isin(np.arange(10), (0, 1, 4, 5, 8))
    others = [np.append(np.where(rows_here, 0, data.labels), 5), np.where(rows_here[:, None], 0, table)]
    half = evaluate(Lookup(), DataLoader(data, 4, shard=(0, 2)), communicator=HalfOfTwo(others))
    assert whole.accuracy == half.accuracy and whole.loss == half.loss
    np.testing.assert_array_equal(whole.confusion, half.confusion)


def test_evaluate_puts_each_module_back_into_its_mode_after_an_error_too():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm2d(2), nn.Linear(3, 3)).train()
    model[1].eval()
    with pytest.raises(ValueError):
        evaluate(model, DataLoader(dataset(), 5))
    assert [module.training for module in model.modules()] == [True, True, False, True]


def test_a_used_loader_or_one_that_a_callback_uses_changes_nothing_in_training():
    one = trainer()
    one.fit()
    expected = everything(one)

    class Looks(Callback):
        def on_batch_end(self, trainer, loss):
            next(iter(trainer.loader))

        def on_epoch_end(self, trainer):
            assert len(list(trainer.loader)) == 5

    other = trainer(callbacks=[Looks()])
    next(iter(other.loader))
    list(other.loader)
    other.fit()
    assert_same(everything(other), expected)


def test_train_loss_and_accuracy_weigh_each_image_once():
    """Five batches of 5, 5, 5, 5 and 2 images, with a rate so small that the model stays as it is."""
    tc.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(60, 3))
    data = dataset(augment=False)
    learner = Trainer(model, DataLoader(data, 5), tc.optim.SGD(model.parameters(), lr=1e-30), 1, quiet=True)
    (row,) = learner.fit()
    images, labels = next(iter(DataLoader(data, 22)))
    logits = images.reshape(22, -1).astype(float) @ model[1].weight.data.T.astype(float) + model[1].bias.data
    exps = np.exp(logits - logits.max(axis=1, keepdims=True))
    losses = -np.log((exps / exps.sum(axis=1, keepdims=True))[np.arange(22), labels])
    assert row["train_loss"] == pytest.approx(losses.mean(), rel=1e-5)
    assert row["train_accuracy"] == np.mean(logits.argmax(axis=1) == labels)


@pytest.mark.parametrize(("broken", "column", "loss"), [(np.nan, 0, "nan"), (np.inf, 0, "nan"), (-np.inf, 1, "inf")])
def test_a_loss_that_is_not_finite_is_not_trained_on(broken, column, loss):
    class Breaks(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(np.ones(1, np.float32))

        def forward(self, x):
            rows = np.zeros((len(x.data), 3), np.float32)
            rows[:, column] = broken
            return tc.Tensor(rows) + self.scale

    model = Breaks()
    data = ArrayDataset(np.zeros((4, 1, 2, 2), np.float32), np.ones(4, int), CLASSES)
    learner = Trainer(model, DataLoader(data, 2), tc.optim.SGD(model.parameters(), lr=0.1), 1, quiet=True)
    with pytest.raises(TrainingError, match=f"the loss is {loss}: training stopped"):
        learner.fit()
    assert model.scale.data.tolist() == [1.0] and model.scale.grad is None and learner.position == 0


# -- the bar -----------------------------------------------------------------------------------------------------------


def test_the_bar_shows_numbers_and_which_kernel_is_compiled(capsys):
    numba = pytest.importorskip("numba")
    if numba.config.DISABLE_JIT:
        pytest.skip("nothing is compiled")

    def _brand_new_kernel(x):
        return x + 1

    def helper_of_numba(x):
        return x + 2

    _brand_new_kernel.__module__ = "tinycnn.kernels.cpu.example"
    helper_of_numba.__module__ = "numba.example"

    with Progress(10, "epoch 1/1") as progress:
        numba.njit(_brand_new_kernel)(1)
        numba.njit(helper_of_numba)(1)
        progress.update(10, loss=0.5, accuracy=0.25)
    shown = capsys.readouterr().err
    assert "compiling brand_new_kernel" in shown
    assert "helper_of_numba" not in shown
    assert "10/10" in shown
    assert "loss 0.500, accuracy 0.250" in shown
    assert "images/s" in shown
    with Progress(10, "silent", quiet=True):
        _brand_new_kernel(1.0)
    assert capsys.readouterr().err == ""


def test_labels_and_loss_agree_with_a_plain_loop():
    """The trainer's first epoch equals a loop that a student would write by hand."""
    learner = trainer(epochs=1)
    learner.fit()
    tc.manual_seed(3)
    model = network()
    optimizer = tc.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)
    schedule = tc.optim.WarmUp(tc.optim.CosineAnnealingLR(optimizer, 12), 3)
    for images, labels in DataLoader(dataset(), 5, shuffle=True, seed=4):
        optimizer.zero_grad()
        F.cross_entropy(model(tc.Tensor(images)), labels).backward()
        optimizer.step()
        schedule.step()
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, learner.model.state_dict()[name], err_msg=name)


class Other(DataLoader):
    """A loader whose iteration a subclass replaced."""

    def __init__(self, dataset, change):
        super().__init__(dataset, batch_size=2)
        self.change = change

    def __iter__(self):
        return iter(self.change(list(super().__iter__())))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b[:1], "gave 2 images, expected the 5"),
        (lambda b: b[::-1], "batch 0 of the loader has 1 images and 1 labels, expected 2"),
        (lambda b: [*b, b[0]], "batch 3 of the loader has 2 images and 2 labels, expected 0"),
        (lambda b: [(b[0][0], b[0][1][:1])], "batch 0 of the loader has 2 images and 1 labels, expected 2"),
    ],
)
def test_evaluate_counts_the_images_of_a_loader_with_its_own_iteration(change, message):
    data = ArrayDataset(np.zeros((5, 1, 1, 1), np.float32), np.zeros(5, np.int64), CLASSES)
    with pytest.raises(ValueError, match=f"evaluate: .*{message}"):
        evaluate(AlwaysZero(), Other(data, change))


def test_evaluate_uses_the_iteration_of_a_subclass():
    data = ArrayDataset(np.zeros((5, 1, 1, 1), np.float32), np.zeros(5, np.int64), CLASSES)
    ones = Other(data, lambda batches: [(images, labels + 1) for images, labels in batches])
    assert evaluate(AlwaysZero(), Other(data, list)).accuracy == 1
    assert evaluate(AlwaysZero(), ones).accuracy == 0


def test_evaluate_names_arguments_of_another_kind():
    data = ArrayDataset(np.zeros((5, 1, 1, 1), np.float32), np.zeros(5, np.int64), CLASSES)
    for loader in (None, data, [(data.images, data.labels)], iter(DataLoader(data))):
        with pytest.raises(TypeError, match=f"evaluate: loader is a {type(loader).__name__}, expected a DataLoader"):
            evaluate(AlwaysZero(), loader)
    with pytest.raises(TypeError, match="evaluate: model is a NoneType, expected a Module"):
        evaluate(None, DataLoader(data))


@pytest.mark.parametrize("output", [None, np.zeros((5, 3)), (1, 2)])
def test_evaluate_names_an_output_that_is_not_a_tensor(output):
    class Wrong(nn.Module):
        def forward(self, x):
            return output

    data = ArrayDataset(np.zeros((5, 1, 1, 1), np.float32), np.zeros(5, np.int64), CLASSES)
    with pytest.raises(TypeError, match=f"the model gives a {type(output).__name__}, expected a tensor"):
        evaluate(Wrong(), DataLoader(data, batch_size=5))
