"""The choice between the fast kernels and the reference, and tinycnn where Numba is missing."""

import os
import re
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import functional as F
from tinycnn import kernels
from tinycnn.kernels import KernelSet, for_device

ROOT = Path(__file__).parents[2]
DEFAULT = for_device("cpu")


def set_in_use():
    """Return the package of the kernels with which an operation runs."""
    return F.relu(tc.Tensor([1.0], requires_grad=True)).grad_fn.kernels.package


def test_the_reference_is_used_in_its_block_and_by_what_is_decorated():
    with tc.use_kernels("fast"):
        assert set_in_use() == "cpu"
        with tc.use_kernels("reference"):
            assert set_in_use() == "reference"
        assert tc.use_kernels("reference")(set_in_use)() == "reference"
        assert set_in_use() == "cpu"
    assert for_device("cpu") is DEFAULT


def test_a_thread_has_its_own_choice():
    seen = []
    with tc.use_kernels("reference"):
        thread = threading.Thread(target=lambda: seen.append(for_device("cpu")))
        thread.start()
        thread.join()
        assert set_in_use() == "reference"
    assert seen == [DEFAULT]


@pytest.mark.parametrize("name", ["numpy", None, "", "Reference", ["fast"]])
def test_an_unknown_set_is_named(name):
    with pytest.raises(ValueError, match=r"use_kernels: name is .*, expected 'fast' or 'reference'"):
        tc.use_kernels(name)


def run(code, *path, **environment):
    paths = os.pathsep.join(map(str, (*path, ROOT)))
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=path[0] if path else ROOT,
        env=os.environ | {"PYTHONPATH": paths} | environment,
    )


PRINT_SET = (
    "import tinycnn as tc; print(tc.functional.relu(tc.Tensor([1.0], requires_grad=True)).grad_fn.kernels.package)"
)


@pytest.mark.parametrize(("value", "package"), [("reference", "reference"), ("fast", "cpu"), ("", "cpu")])
def test_the_environment_sets_the_default(value, package):
    done = run(PRINT_SET, TINYCNN_KERNELS=value)
    assert (done.stdout.strip(), done.stderr) == (package, "")


def test_another_value_in_the_environment_is_an_error_that_names_both():
    done = run("import tinycnn", TINYCNN_KERNELS="numpy")
    assert done.stderr.strip().endswith("ValueError: TINYCNN_KERNELS is 'numpy', expected 'fast' or 'reference'")


# -- one graph, two sets -----------------------------------------------------------------------------------------------


def network(x, weights, layer):
    """Return the loss of a small network; ``layer(number)`` gives the set of kernels of each layer."""
    with tc.use_kernels(layer(0)):
        x = F.conv2d(x, weights[0], padding=1)
    with tc.use_kernels(layer(1)):
        x = F.relu(F.batch_norm(x, None, None, weights[1], training=True))
    with tc.use_kernels(layer(2)):
        x = F.local_response_norm(F.max_pool2d(x, 3, 2, ceil_mode=True), 3)
    with tc.use_kernels(layer(3)):
        x = F.dropout(F.conv2d(x, weights[2], padding=1, algorithm="winograd"), 0.3, generator=tc.Generator(1))
    with tc.use_kernels(layer(4)):
        x = F.linear(F.adaptive_avg_pool2d(x, 2).flatten(1), weights[3])
    with tc.use_kernels(layer(5)):
        return F.cross_entropy(x, [1, 0])


def gradients(layer, backward):
    rng = np.random.default_rng(0)
    shapes = (2, 3, 9, 8), (16, 3, 3, 3), (16,), (16, 16, 3, 3), (4, 64)
    x, *weights = (tc.Tensor(rng.normal(size=shape), requires_grad=True) for shape in shapes)
    loss = network(x, weights, layer)
    with tc.use_kernels(backward):
        loss.backward()
        tc.optim.Adam(weights, lr=0.1).step()
    return [loss.data, x.grad, *(w.grad for w in weights), *(w.data for w in weights)]


LAYERS = {
    "fast": lambda layer: "fast",
    "reference": lambda layer: "reference",
    "in turn": lambda layer: ("fast", "reference")[layer % 2],
    "in turn, the other way": lambda layer: ("reference", "fast")[layer % 2],
}


@pytest.mark.parametrize("backward", ["fast", "reference"])
@pytest.mark.parametrize("forward", LAYERS)
def test_a_graph_of_either_set_runs_backward_in_a_block_of_the_other(forward, backward):
    expected = gradients(LAYERS["fast"], "fast")
    for ours, right in zip(gradients(LAYERS[forward], backward), expected):
        np.testing.assert_allclose(ours, right, rtol=1e-9, atol=1e-11)


def test_numpy_scalars_as_options_do_not_change_the_dtype():
    x = np.ones((2, 3, 2), np.float32)
    reference = KernelSet("reference")
    half = np.float64(0.5)
    assert reference.leaky_relu(-x, half).dtype == np.float32
    assert {a.dtype for a in reference.local_response_norm(x, 3, half, half, np.float64(2))} == {np.dtype(np.float32)}
    assert reference.inverse_std(x[0, :, 0], half).dtype == np.float32


@pytest.mark.filterwarnings("error")
def test_the_reference_returns_arrays_without_dimensions_and_warns_of_nothing():
    reference = KernelSet("reference")
    for value in (-1.0, np.inf, np.nan):
        number = np.array(value, np.float32)
        for result in (reference.relu(number), reference.tanh(number), reference.softmax(number, 0)):
            assert type(result) is np.ndarray and result.shape == () and result.dtype == np.float32
    assert np.isposinf(reference.inverse_std(np.zeros(1), 0.0))


# -- without Numba -----------------------------------------------------------------------------------------------------


@pytest.fixture
def stub(tmp_path):
    """Return a folder in which ``import numba`` raises ImportError."""
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text("raise ImportError('DLL load failed')\n")
    return tmp_path


def test_the_readmes_example_runs_without_numba_and_warns_once(stub):
    (example,) = re.findall(r"## Write one\n\n```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    done = run(f"import numpy as np; np.random.seed(0)\n{example}\nimport sys; print('numba' in sys.modules)", stub)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Tensor(") == 5 and done.stdout.endswith("False\n")
    assert done.stderr.count("RuntimeWarning: numba cannot be imported (DLL load failed): tinycnn computes with") == 1
    assert done.stderr.count("Warning") == 1 and "pip install numba" in done.stderr


def test_lenet5_trains_and_is_evaluated_without_numba(stub):
    code = (
        "from tinycnn.cli import main\n"
        "assert main(['train', '--model', 'lenet5', '--limit', '200', '--epochs', '1']) == 0\n"
        "assert main(['evaluate', 'lenet5-glyphs']) == 0"
    )
    done = run(code, stub, MPLBACKEND="Agg")
    assert done.returncode == 0, done.stderr
    assert "test accuracy" in done.stdout
    assert done.stderr.count("RuntimeWarning") == 1


def test_no_warning_where_the_reference_was_chosen(stub):
    done = run(PRINT_SET, stub, TINYCNN_KERNELS="reference")
    assert (done.stdout.strip(), done.stderr) == ("reference", "")


def test_another_failure_of_a_fast_kernel_is_not_hidden(monkeypatch):
    def fails(name):
        raise ImportError("cannot import name 'moved'")

    monkeypatch.setattr(kernels, "import_module", fails)
    monkeypatch.setattr(kernels, "numba_is_missing", lambda: None)
    with warnings.catch_warnings(), pytest.raises(ImportError, match="moved"):
        warnings.simplefilter("error")
        KernelSet("cpu").relu  # noqa: B018
