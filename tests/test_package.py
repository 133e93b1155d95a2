"""The package as a whole: the cost of importing it, and the README's code."""

import inspect
import pkgutil
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests import reading
from tests.imports import arrows, cycles, foreign_imports, foreign_private_names, modules
from tests.state import patches_at_import, state

ROOT = Path(__file__).parents[1]


def test_importing_tinycnn_imports_neither_numba_nor_matplotlib_nor_torch():
    code = "import sys, tinycnn; print(sorted({'numba', 'matplotlib', 'PIL', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_never_imports_pytorch():
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tinycnn").rglob("*.py")]
    assert not any(re.search(r"^\s*(import|from) torch\b", source, re.M) for source in sources)


LAYERS = (
    ("kernels",),
    ("grad_mode", "gradients", "hooks", "mutation", "autograd"),
    ("ops",),
    ("tensor_methods", "tensor"),
    ("tensor_functions", "functional"),
    ("nn",),
    ("models",),
)


def test_imports_point_one_way():
    """models -> nn -> functional -> tensor -> ops -> autograd -> kernels."""
    height = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}
    wrong = [
        f"{name} imports {target}"
        for name, targets in arrows().items()
        for target in targets
        if height.get(name.split(".")[1], -1) < height.get(target.split(".")[1], -1) and name.split(".")[1] in height
    ]
    assert wrong == []


def test_only_the_machine_imports_parts_of_numba():
    """``import numba`` is enough elsewhere."""
    machines = "tinycnn.kernels.cpu.machine.", "tinycnn.kernels.cuda.machine."
    wrong = [
        f"{name} imports {target}"
        for name, targets in foreign_imports().items()
        for target in targets
        if re.match(r"llvmlite|numba\.", target) and not name.startswith(machines)
    ]
    assert wrong == []


def test_no_imports_in_a_circle():
    assert cycles() == []


def test_no_module_uses_a_private_name_of_another():
    assert foreign_private_names() == []


STATE = {
    "tinycnn.autograd._owns_grad": "whether a backward pass of this thread may write to its gradient",
    "tinycnn.autograd._tensor_type": "the one late binding: tensor.py registers the type that Function.apply returns",
    "tinycnn.autograd.observer": "the profile that is being taken in this thread",
    "tinycnn.figure_text._noted": "a missing font is noted once a process",
    "tinycnn.gradients.adding": "the lock of gradients, which arrive from several threads",
    "tinycnn.hooks._keys": "a counter: no two hooks have one key",
    "tinycnn.kernels.cpu.machine.allocator._slabs": "the memory that arrays return to and come from",
    "tinycnn.kernels.cpu.machine.fork._held": "the compiler's locks that a fork holds",
    "tinycnn.kernels.cpu.machine.prange.parallel_loop": "the lock of Numba's threads, which run one loop at a time",
    "tinycnn.kernels.cpu.machine.record.current_record": "the record that a plan of this thread makes of its loops",
    "tinycnn.kernels.cpu.machine.scratch._kept": "workspaces of kernels, a set for each thread",
    "tinycnn.kernels.cpu.machine.settings._settings": "the number of threads, as in PyTorch one for the process",
    "tinycnn.kernels.cpu.machine.threads._kept": "the argument buffer of each thread",
    "tinycnn.kernels.cpu.machine.threads._pool": "the threads that compute",
    "tinycnn.kernels.cuda.machine.device_array.HANDLED_FUNCTIONS": "a registry: NumPy's functions on the device",
    "tinycnn.kernels.cuda.machine.device_array.OPERATIONS": "a registry: what methods of device arrays run",
    "tinycnn.kernels.cuda.machine.device_array.transfers": "a counter of copies to the host",
    "tinycnn.kernels.cuda.machine.launch.launchers": "compiled launches, for each thread its own",
    "tinycnn.kernels.versions._clock": "a counter: the moments of writes",
    "tinycnn.kernels.versions._versions": "the last write to each buffer",
    "tinycnn.lesson.report._receivers": "where claims and figures of a running lesson go",
    "tinycnn.random._counting": "the lock of the counters of random streams",
    "tinycnn.random._default": "the default generator, as in PyTorch one for the process",
}


def test_modules_keep_no_other_state_than_this():
    assert state() == set(STATE)


def test_importing_tinycnn_changes_no_other_package():
    assert patches_at_import() == []


PACKAGES = [name for name, path in modules().items() if path.name == "__init__.py" and ".kernels" not in name]


@pytest.mark.parametrize("name", ["tinycnn", *PACKAGES])
def test_a_package_lists_its_public_names_only(name):
    """dir() of a package without ``__all__`` lists its modules."""
    package = import_module(name)
    listed = [entry for entry in dir(package) if not entry.startswith("__")]
    submodules = [module.rpartition(".")[2] for module in sys.modules if module.rpartition(".")[0] == name]
    assert listed == sorted(getattr(package, "__all__", submodules))


@pytest.mark.parametrize("name", ["tinycnn", *PACKAGES])
def test_no_function_has_the_name_of_a_module_beside_it(name):
    """``import tinycnn.watch`` would put the module in the place of the function ``tinycnn.watch``."""
    package = import_module(name)
    beside = {module.name for module in pkgutil.iter_modules(package.__path__)}
    hidden = [entry for entry in beside & set(vars(package)) if not inspect.ismodule(vars(package)[entry])]
    assert hidden == []


def lines(*names):
    return sum(len(modules()[name].read_text(encoding="utf-8").splitlines()) for name in names)


def test_the_engine_the_tensor_and_the_reference_are_short_enough_to_read():
    assert lines("tinycnn.autograd") <= 300 and lines("tinycnn.tensor") <= 350
    imported = [name for name in arrows()["tinycnn.autograd"] if not name.startswith("tinycnn.kernels")]
    assert lines("tinycnn.autograd", *imported) < 550
    assert lines(*(name for name in modules() if name.startswith("tinycnn.kernels.reference"))) <= 450


def test_the_readmes_order_of_reading_has_the_true_lines():
    assert reading.table() in reading.README.read_text(encoding="utf-8"), "run python -m tests.reading --write"


def test_the_readmes_python_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    assert len(blocks) == 2
    names: dict = {}
    for block in blocks:
        exec(block, names)
    assert "gradcheck passed" in capsys.readouterr().out
