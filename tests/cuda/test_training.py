"""A training step of a tiny version of each of the four nets on the device "cuda", equal to the CPU's."""

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import functional as F
from tinycnn.kernels.cuda.gemm import matmul_algorithm
from tinycnn.models.resnet import BasicBlock, ResNet


def published(name, width):
    return lambda: tc.models.build(name, num_classes=3, width=width, small_input=True)


NETS = {  # and the number and size of its images
    "alexnet": (published("alexnet_2012", 1 / 128), 2, 15),
    "vgg": (published("vgg11", 1 / 128), 1, 17),
    "resnet": (lambda: ResNet(BasicBlock, (1, 1), 2, num_classes=3, small_input=True), 2, 6),
    "squeezenet": (published("squeezenet1_1", 1 / 32), 1, 12),
}


def step(build, count, size, device, runtime):
    """Return the loss, and gradients, parameters, buffers and momentum after one step in float64."""
    tc.manual_seed(1)
    model = build().to(np.float64).to(device)
    rng = np.random.default_rng(2)
    images, target = tc.Tensor(rng.normal(size=(count, 3, size, size))).to(device), np.array([2, 0])[:count]
    optimizer = tc.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    copies = runtime.transfers.count
    loss = F.cross_entropy(model(images), target)
    loss.backward()
    gradients = {name: tc.Tensor.wrap(p.grad).numpy().copy() for name, p in model.named_parameters()}
    copies += 0 if device == "cpu" else len(gradients)
    optimizer.step()
    assert runtime.transfers.count == copies, "a hidden copy to the host"
    momenta = (state["momentum_buffer"] for state in optimizer.state_dict()["state"].values())
    return loss.item(), {
        **gradients,
        **{f"new {k}": v for k, v in model.state_dict().items()},
        **dict(enumerate(momenta)),
    }


@pytest.mark.parametrize("net", NETS)
@matmul_algorithm("naive")  # the fastest net in the simulator: it has no barriers
def test_a_training_step_equals_the_cpus(net, runtime):
    loss, arrays = step(*NETS[net], "cuda", runtime)
    expected, references = step(*NETS[net], "cpu", runtime)
    assert loss == pytest.approx(expected, rel=1e-10)
    assert arrays.keys() == references.keys()
    for name, reference in references.items():
        scale = np.abs(reference).max(initial=1e-6)
        np.testing.assert_allclose(arrays[name], reference, rtol=0, atol=1e-10 * scale, err_msg=str(name))
