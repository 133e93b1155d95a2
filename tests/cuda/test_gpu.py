"""Tests on a GPU at full size: ``pytest -m gpu tests/cuda``. They are skipped without one."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

import tinycnn as tc
from tests.cuda.cases import numbers
from tests.cuda.test_twins import contiguous, kernel, moved, reference_kernel
from tinycnn import functional as F
from tinycnn.kernels.cuda import array as runtime
from tinycnn.kernels.cuda.activation import relu_kernel
from tinycnn.kernels.cuda.gemm import ALGORITHMS, matmul_algorithm
from tinycnn.kernels.cuda.machine.launch import launch
from tinycnn.kernels.cuda.machine.target import SIMULATED, xp
from tinycnn.kernels.cuda.memory import prefetch_to_device
from tinycnn.kernels.geometry import ConvShape, PoolShape

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(SIMULATED or xp is None, reason="no GPU"),
]

IMAGES = (16, 64, 112, 112)
FULL = {
    "relu": lambda x: (x,),
    "dropout": lambda x: (x, 0.5, 1, 2, 10_001),
    "max_pool2d": lambda x: (x, PoolShape.of(x.shape, 3, 2, 1, 1, True)),
    "avg_pool2d": lambda x: (x, PoolShape.of(x.shape, 3, 2, 1), True),
    "adaptive_avg_pool2d": lambda x: (x, (6, 6)),
    "batch_norm_statistics": lambda x: (x.reshape(16, 64, -1),),
    "local_response_norm": lambda x: (x.reshape(16, 64, -1), 5, 5e-4, 0.75, 2.0),
    "log_softmax": lambda x: (x.reshape(-1, 1000)[:64], 1),
    "im2col": lambda x: (x[:2], ConvShape.of(x[:2].shape, (64, 64, 3, 3), 2, 1)),
    "conv2d": lambda x: (
        x[:4],
        numbers(x.dtype, 128, 64, 3, 3),
        None,
        ConvShape.of(x[:4].shape, (128, 64, 3, 3), padding=1),
    ),
}
NETS = ("alexnet", "vgg11", "resnet18", "squeezenet1_1")


@pytest.mark.parametrize("name", FULL)
def test_kernels_at_full_size_equal_the_cpus(name):
    arguments = FULL[name](numbers("float32", *IMAGES))
    found = kernel(name)(*(moved(runtime, contiguous, a) for a in arguments))
    expected = reference_kernel(name)(*arguments)
    for ours, right in zip(*(x if isinstance(x, tuple) else (x,) for x in (found, expected)), strict=True):
        scale = np.abs(right).max()
        np.testing.assert_allclose(runtime.to_host(ours), right, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_matrix_products_at_full_size(algorithm):
    a, b = numbers("float32", 1000, 777), numbers("float32", 777, 1111)
    with matmul_algorithm(algorithm):
        product = kernel("matmul")(*map(runtime.from_host, (a, b)))
    np.testing.assert_allclose(runtime.to_host(product), a @ b, atol=1e-3)


def step(model, images, target, optimizer):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), target)
    loss.backward()
    optimizer.step()
    return loss


@pytest.mark.parametrize("name", NETS)
def test_a_training_step_at_224_equals_the_cpus(name):
    rng = np.random.default_rng(1)
    images, target = rng.normal(size=(4, 3, 224, 224)).astype(np.float32), rng.integers(1000, size=4)
    losses, gradients = [], []
    for device in "cuda", "cpu":
        tc.manual_seed(0)
        model = tc.models.build(name).to(device)
        optimizer = tc.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        losses.append(step(model, tc.Tensor(images).to(device), target, optimizer).item())
        gradients.append({n: tc.Tensor.wrap(p.grad).numpy() for n, p in model.named_parameters()})
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for parameter, reference in gradients[1].items():
        scale = np.linalg.norm(reference)
        assert np.linalg.norm(gradients[0][parameter] - reference) <= 1e-2 * scale + 1e-6, parameter


@pytest.mark.parametrize("name", NETS)
def test_gradients_at_224(name):
    model = tc.models.build(name, num_classes=5).to("cuda")
    images = np.random.default_rng(2).normal(size=(2, 3, 224, 224))
    assert tc.gradcheck_model(model, images, target=[1, 3], samples=0).max_error < 1e-6


def test_a_launch_does_what_numbas_dispatcher_does():
    x = runtime.from_host(numbers("float32", 1000, 7)).reshape(-1)
    ours, numbas = (runtime.zeros(x.shape, x.dtype) for _ in range(2))
    launch(relu_kernel, x.size, x, ours)
    relu_kernel[8, 128](x.raw, numbas.raw)
    np.testing.assert_array_equal(runtime.to_host(ours), runtime.to_host(numbas))
    assert runtime.to_host(ours).any()


def test_batches_arrive_whole_while_the_gpu_computes():
    a = runtime.from_host(numbers("float32", 2000, 2000))
    found = []
    for images, number in prefetch_to_device(
        (np.full((64, 3, 224, 224), number, np.float32), number) for number in range(12)
    ):
        for _ in range(3):
            a = kernel("matmul")(a, a) * 0
        found.append((images.min(), images.max(), number))
    assert [(low.item(), high.item()) for low, high, _ in found] == [(number, number) for *_, number in found]


def test_a_thousand_steps_leak_nothing():
    model = tc.models.build("resnet20", num_classes=10).to("cuda")
    optimizer = tc.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    images, target = tc.Tensor(numbers("float32", 8, 3, 32, 32)).to("cuda"), np.arange(8)
    pool, used = xp.get_default_memory_pool(), []
    for number in range(1000):
        step(model, images, target, optimizer)
        if number in (9, 999):
            used.append((pool.used_bytes(), pool.total_bytes()))
    assert used[0] == used[1]


def test_compute_sanitizer_finds_nothing():
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        pytest.skip("compute-sanitizer is not installed")
    for tool in "memcheck", "racecheck", "synccheck":
        command = [sanitizer, "--tool", tool, "--error-exitcode", "9", sys.executable, "-m", "pytest", "-q"]
        subprocess.run([*command, "tests/cuda/test_twins.py"], check=True, timeout=1800)
