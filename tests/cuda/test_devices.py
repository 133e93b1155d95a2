"""Tensors, modules and optimisers move between devices; without a GPU, the error gives advice."""

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import nn
from tinycnn.errors import DeviceError
from tinycnn.kernels.cuda import requirements
from tinycnn.kernels.cuda.gemm import matmul_algorithm
from tinycnn.kernels.cuda.requirements import Found, missing
from tinycnn.training import Trainer

needs_device = pytest.mark.usefixtures("runtime")

GOOD = Found(driver=(13, 0), gpus=1, compiler=(13, 0), linker=(13, 0), numba_cuda="0.30.4", cupy=True)


@needs_device
def test_a_gradient_moves_back_to_where_its_tensor_is():
    x = tc.Tensor([1.0, -2.0], requires_grad=True)
    y = x.to("cuda") * 3
    assert (x.device, y.device) == ("cpu", "cuda")
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0] and isinstance(x.grad, np.ndarray)
    back = y.to("cpu")
    assert back.device == "cpu" and back.data.tolist() == y.numpy().tolist() == [3.0, -6.0]
    assert "device=cuda" in repr(y) and "-6." in repr(y)


@needs_device
def test_tensors_on_two_devices_do_not_mix():
    with pytest.raises(ValueError, match="add: inputs are on different devices: cpu, cuda"):
        tc.Tensor([1.0]) + tc.Tensor([1.0]).to("cuda")


@needs_device
def test_a_module_goes_on_with_its_optimiser_where_it_is_moved(tmp_path):
    layers, optimisers = [], []
    for places in (("cpu", "cpu"), ("cpu", "cuda"), ("cuda", "cpu")):
        tc.manual_seed(0)
        layer = nn.Linear(3, 2)
        optimiser = tc.optim.Adam(layer.parameters(), lr=0.1)
        for place in places:
            layer.to(place)
            layer.zero_grad()
            (layer(tc.Tensor([[1.0, 2.0, 3.0]]).to(place)) ** 2).sum().backward()
            optimiser.step()
        layers.append(layer)
        optimisers.append(optimiser)
    reference = layers[0].state_dict()
    for layer in layers[1:]:
        for name, array in layer.state_dict().items():
            assert isinstance(array, np.ndarray)
            np.testing.assert_allclose(array, reference[name], rtol=1e-5)
    layers[1].save(tmp_path / "w.npz")
    layers[1].load(tmp_path / "w.npz")
    assert layers[1].weight.device == "cuda"
    state = optimisers[1].state_dict()
    assert all(isinstance(state["state"][0][name], np.ndarray) for name in ("exp_avg", "exp_avg_sq"))
    optimisers[2].load_state_dict(state)


@needs_device
def test_out_of_memory_names_the_layer_and_the_sizes(monkeypatch):
    def full(shape, dtype):
        raise MemoryError("out of memory allocating 4,000,000,000 bytes")

    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).to("cuda")
    x = tc.Tensor(np.ones((3, 1, 2, 2), np.float32)).to("cuda")
    monkeypatch.setattr("tinycnn.kernels.cuda.gemm.empty", full)
    with pytest.raises(MemoryError, match=r"4,000,000,000 bytes, in layer 1 \(Linear\(4, 2\)\) on input \(3, 4\)"):
        model(x)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (GOOD._replace(driver=None), "no NVIDIA driver is found"),
        (GOOD._replace(gpus=0), "it finds no GPU"),
        (GOOD._replace(driver=(11, 4)), "12.0 is needed: install a newer driver"),
        (
            GOOD._replace(numba_cuda=None, cupy=False),
            "numba-cuda and CuPy is not installed: pip install 'tinycnn[cuda]'",
        ),
        (GOOD._replace(driver=(12, 8), cupy=False), "CuPy is not installed: pip install 'tinycnn[cuda12]'"),
        (
            GOOD._replace(driver=(12, 4), linker=None),
            "driver knows CUDA up to 12.4 (unsupported PTX version): pip install 'tinycnn[cuda12]'",
        ),
        (GOOD._replace(compiler=(13, 1), linker=None), "'cuda-toolkit==13.0.*'"),
        (GOOD._replace(compiler=(13, 5), linker=(13, 5)), ""),
        (
            GOOD._replace(compiler=(13, 5), linker=(13, 1)),
            "linker knows CUDA up to 13.1 (unsupported PTX version): pip install --upgrade nvidia-nvjitlink",
        ),
        (GOOD._replace(driver=(13, 2), compiler=(12, 9), linker=None), ""),
        (GOOD, ""),
    ],
)
def test_what_is_missing_is_said_in_words(found, words):
    said = missing(found)
    assert words in said and bool(words) == bool(said)


def test_without_a_gpu_the_error_says_what_to_do(monkeypatch):
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    monkeypatch.setattr(requirements, "look", lambda: GOOD._replace(driver=None))
    with pytest.raises(DeviceError, match="device 'cuda' is not available: no NVIDIA driver"):
        requirements.require()


@needs_device
@matmul_algorithm("naive")  # it has no barriers, which are slow in the simulator
def test_a_training_on_the_device_is_the_cpus_and_goes_on_there(tmp_path):
    def trainer(device, epochs):
        tc.manual_seed(0)
        data = tc.data.Glyphs(size=8, count=12, difficulty=0.0)
        data.transform = tc.data.transforms.Normalize.of(data.images)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).to(device)
        optimiser = tc.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        loader = tc.data.DataLoader(data, 6, shuffle=True, seed=0)
        return Trainer(
            model, loader, optimiser, epochs, validation=loader, checkpoint=tmp_path / f"{device}.npz", quiet=True
        )

    expected = trainer("cpu", 2).fit()
    assert trainer("cuda", 1).fit()[0]["train_loss"] == pytest.approx(expected[0]["train_loss"], rel=1e-5)
    second = trainer("cuda", 2)
    second.resume(tmp_path / "cuda.npz")
    row = second.fit()[1]
    assert second.model[1].weight.device == "cuda"
    assert row["train_loss"] == pytest.approx(expected[1]["train_loss"], rel=1e-5)
    assert row["test_accuracy"] == expected[1]["test_accuracy"]


@needs_device
def test_gradients_accumulate_where_they_are():
    x = tc.Tensor(tc.Tensor([1.0, 2.0]).to("cuda"), requires_grad=True)
    for _ in range(2):
        y = x * x
        y.retain_grad()
        y.register_hook(lambda grad: 2 * grad)
        y.sum().backward()
    assert tc.Tensor(x.grad).device == "cuda"
    assert tc.Tensor(x.grad).numpy().tolist() == [8.0, 16.0]
    assert tc.Tensor(y.grad).numpy().tolist() == [2.0, 2.0]
