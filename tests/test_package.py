"""The package as a whole: what importing it costs, and that the README's code runs."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_importing_tinycnn_imports_neither_numba_nor_matplotlib_nor_torch():
    code = "import sys, tinycnn; print(sorted({'numba', 'matplotlib', 'PIL', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_never_imports_pytorch():
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tinycnn").rglob("*.py")]
    assert not any(re.search(r"^\s*(import|from) torch\b", source, re.M) for source in sources)


def test_imports_point_one_way():
    """A layer imports only what lies below it."""
    layers = ["errors", "kernels", "tensor", "random", "ops", "functional", "weights", "nn", "models", "summary"]
    for height, layer in enumerate(layers):
        place = ROOT / "tinycnn" / layer
        files = [place.with_suffix(".py")] if place.with_suffix(".py").is_file() else sorted(place.rglob("*.py"))
        above = layers[height + 1 :]
        for path in files:
            for line in re.findall(
                r"^(?:from|import) tinycnn\S*(?: import .*)?", path.read_text(encoding="utf-8"), re.M
            ):
                names = re.findall(r"\w+", line.removeprefix("from ").removeprefix("import "))
                assert not set(names[1:2] + (names[2:] if names[1:2] == ["import"] else [])) & set(above), (path, line)


def test_the_readmes_python_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    assert len(blocks) == 2
    names: dict = {}
    for block in blocks:
        exec(block, names)
    assert "gradcheck passed" in capsys.readouterr().out
