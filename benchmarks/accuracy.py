"""The accuracy of results: ``python -m benchmarks.accuracy`` prints three tables.

1. Each operation beside PyTorch's: the largest difference of values and of gradients, in float32 and float64.
2. Five networks at their published size beside PyTorch's, with equal weights: logits and gradients.
3. Each network's backward against finite differences in float64, dropout and batch norm in training mode: at reduced
   width a sample of every parameter tensor, and with ``--full`` the published size along random directions (minutes).

A difference is relative to the largest element of the array that it is in. Where a ReLU's input or two elements of a
max pool differ by less than float32 rounds, the two sides may send a gradient down different paths: a large difference
in float32 beside one of rounding size in float64 is such a kink, not an error.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import torch
from torch.nn import functional as TF

import tinycnn as tc
from benchmarks import NETS, torch_nets
from tests.models.test_gradients import FULL, REDUCED, check_full, check_reduced
from tests.ops.test_against_torch import CASES, differences
from tinycnn import functional as F
from tinycnn.gradient_report import Report

DTYPES = (np.float32, np.float64)


def operations() -> None:
    """Print the first table."""
    print(f"{'operation':32}{'float32 values':>16}{'gradients':>11}{'float64 values':>16}{'gradients':>11}")
    for name in CASES:
        (a, b), (c, d) = (differences(name, dtype) for dtype in DTYPES)
        print(f"{name:32}{a:16.1e}{b:11.1e}{c:16.1e}{d:11.1e}", flush=True)


def networks() -> None:
    """Print the second table."""
    print(f"{'network':32}{'float32 logits':>16}{'gradients':>11}{'float64 logits':>16}{'gradients':>11}")
    for name, _, size in NETS:
        (a, b), (c, d) = (network_differences(name, size, dtype) for dtype in DTYPES)
        print(f"{name:32}{a:16.1e}{b:11.1e}{c:16.1e}{d:11.1e}", flush=True)


def network_differences(name: str, size: int, dtype: type) -> tuple[float, float]:
    """Return differences of the logits, and of the gradients of cross-entropy with respect to the images and all
    parameters.

    In evaluation mode: the two sides draw different dropout masks.
    """
    tc.manual_seed(0)
    ours, theirs = tc.models.build(name).to(dtype).eval(), getattr(torch_nets, name)().to(_torch(dtype)).eval()
    theirs.load_state_dict({key: torch.tensor(array) for key, array in ours.state_dict().items()})
    rng = np.random.default_rng(0)
    array, labels = rng.normal(size=(2, 3, size, size)).astype(dtype), rng.integers(10, size=2)
    images, their_images = tc.Tensor(array, requires_grad=True), torch.tensor(array, requires_grad=True)
    logits, their_logits = ours(images), theirs.forward(their_images)
    F.cross_entropy(logits, labels).backward()
    TF.cross_entropy(their_logits, torch.tensor(labels)).backward()
    reference = dict(theirs.named_parameters())
    pairs = [(images, their_images), *((p, reference[key]) for key, p in ours.named_parameters())]
    return (
        _relative(logits.data, their_logits.detach().numpy()),
        max(_relative(mine.grad, other.grad.numpy()) for mine, other in pairs),
    )


def _torch(dtype: type) -> torch.dtype:
    return torch.float32 if dtype is np.float32 else torch.float64


def _relative(mine: np.ndarray, reference: np.ndarray) -> float:
    return float(np.abs(mine - reference).max() / np.abs(reference).max())


def gradients(full: bool) -> None:
    """Print the third table."""
    print(f"{'network':32}{'size':>10}{'checked':>9}{'at kinks':>10}{'largest relative error':>24}")
    for name, size, report in _reports(full):
        error = f"{report.max_error:.1e}" if report.passed else "FAILED"
        print(f"{name:32}{size:>10}{report.checked:9}{report.kinks:10}{error:>24}", flush=True)


def _reports(full: bool) -> Iterator[tuple[str, str, Report]]:
    for name in REDUCED:
        label = " ".join([name.strip(), REDUCED[name].get("bypass", "")])
        yield label.strip(), "reduced", check_reduced(name)
    for name in FULL if full else ():
        yield name, "published", check_full(name)


def main() -> None:
    """Print the requested tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    tables = ("operations", "networks", "gradients")
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"{', '.join(tables)} (default: all)")
    parser.add_argument("--full", action="store_true", help="check gradients at the published size too")
    options = parser.parse_args()
    for unknown in set(options.tables) - set(tables):
        parser.error(f"unknown table {unknown!r}, expected some of {', '.join(tables)}")
    for table in options.tables or tables:
        {"operations": operations, "networks": networks, "gradients": lambda: gradients(options.full)}[table]()
        print()


if __name__ == "__main__":
    main()
