"""Batches on their way to the device: in order, one ahead, never overwritten; and values that a training step reads
back.
"""

import copy

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import nn
from tinycnn.data import ArrayDataset, DataLoader
from tinycnn.kernels.cuda import memory
from tinycnn.kernels.cuda.gemm import matmul_algorithm
from tinycnn.kernels.cuda.machine.streams import Sender
from tinycnn.training import Callback, Trainer, TrainingError

pytestmark = pytest.mark.usefixtures("runtime")

OTHERS = [
    np.arange(6.0, dtype=np.float32).reshape(2, 3),
    np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1),
    np.ones((1, 3), bool),
    np.arange(9.0)[::-2],
    np.float32([7]),
]


def test_any_arrays_arrive_in_order():
    sent = list(memory.prefetch_to_device((array, number) for number, array in enumerate(OTHERS)))
    for number, (array, (found, place)) in enumerate(zip(OTHERS, sent, strict=True)):
        assert place == number and found.dtype == array.dtype
        np.testing.assert_array_equal(found.to_host(), array)
    assert list(memory.prefetch_to_device([])) == []


def test_pinned_memory_is_not_overwritten_before_it_was_copied(runtime):
    sender = Sender()
    arrived = [sender.send(np.full(4, number)) for number in range(5)]
    assert [receive().to_host().tolist() for receive in arrived] == [[number] * 4 for number in range(5)]


def test_while_a_batch_is_in_use_the_next_is_on_its_way():
    log = []

    def prepare():
        for number in range(3):
            log.append(f"send {number}")
            yield np.zeros(2), number

    for _, number in memory.prefetch_to_device(prepare()):
        log.append(f"use {number}")
    assert log == ["send 0", "send 1", "use 0", "send 2", "use 1", "use 2"]


def test_a_copy_is_waited_for_although_nobody_wants_it(runtime, monkeypatch):
    """Its memory may be reused immediately."""
    send, received = Sender.send, []

    def remember(sender, array):
        receive = send(sender, array)
        return lambda: (received.append(array[0]), receive())[1]

    monkeypatch.setattr(Sender, "send", remember)
    batches = memory.prefetch_to_device((np.full(2, number), None) for number in range(3))
    next(batches)
    batches.close()
    assert received == [0, 1]


def loader(prefetch=2):
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(4, 1, 2, 2)).astype(np.float32), np.arange(4) % 3

    def augment(images, rng):
        return images + rng.normal(size=images.shape).astype(np.float32)

    return DataLoader(ArrayDataset(images, labels, "abc", augment), 3, shuffle=True, seed=5, prefetch=prefetch)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_the_loaders_place_is_that_of_the_batch_in_use(prefetch):
    there, here = loader(prefetch=prefetch), loader(prefetch=prefetch)
    for _ in range(2):
        count = 0
        for (images, labels), (expected, labels_here) in zip(there.batches("cuda"), here, strict=True):
            np.testing.assert_array_equal(images.to_host(), expected)
            np.testing.assert_array_equal(labels, labels_here)
            count += 1
            assert there.state_dict() == here.state_dict() and there.position == count
        assert count == 2 and there.state_dict() == here.state_dict() and there.position == 0


def trainer(device="cuda", callbacks=(), epochs=1):
    tc.manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.25), nn.Linear(4, 3)).to(device)
    optimizer = tc.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return Trainer(model, loader(), optimizer, epochs, callbacks=callbacks, quiet=True)


@matmul_algorithm("naive")
def test_training_goes_on_from_the_middle_of_an_epoch_with_the_same_bits():
    states = []

    class Keep(Callback):
        def on_batch_end(self, trainer, loss):
            states.append(copy.deepcopy(trainer.state_dict()))

    whole = trainer(callbacks=[Keep()], epochs=2)
    whole.fit()
    for state in states[0], states[2]:
        rest = trainer(epochs=2)
        rest.resume(state)
        assert rest.fit()[-1]["train_loss"] == whole.history[-1]["train_loss"]
        for name, array in whole.model.state_dict().items():
            np.testing.assert_array_equal(rest.model.state_dict()[name], array)


@matmul_algorithm("naive")
def test_a_step_reads_the_loss_and_the_scores_and_nothing_else(runtime):
    counts = []

    class Count(Callback):
        def on_batch_end(self, trainer, loss):
            counts.append(runtime.transfers.count)

    trainer(callbacks=[Count()]).fit()
    assert counts[1] - counts[0] == 2


@matmul_algorithm("naive")
@pytest.mark.parametrize(("device", "order"), [("cuda", ["backward", "read"]), ("cpu", ["read", "backward"])])
def test_on_a_gpu_backward_has_begun_before_the_host_waits_for_the_loss(device, order, monkeypatch):
    log = []
    kernels = tc.kernels.for_device(device)
    copy_to_host_async = kernels.copy_to_host_async

    def logged(*arrays):
        read = copy_to_host_async(*arrays)
        return lambda: (log.append("read"), read())[1]

    monkeypatch.setattr(kernels, "copy_to_host_async", logged)
    run = trainer(device)
    run.model[2].weight.register_hook(lambda grad: log.append("backward"))
    run.fit()
    assert log == 2 * order


@matmul_algorithm("naive")
def test_a_loss_that_is_not_finite_changes_no_parameter():
    messages = []
    for device in "cuda", "cpu":
        run = trainer(device)
        run.model[2].bias.data[...] = np.inf
        before = run.model.state_dict()
        with pytest.raises(TrainingError) as error:
            run.fit()
        messages.append(str(error.value))
        for name, array in run.model.state_dict().items():
            np.testing.assert_array_equal(array, before[name])
    assert messages[0] == messages[1] and "2.bias" in messages[0]
