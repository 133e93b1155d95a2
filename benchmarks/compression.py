"""Time and stages of compression to 1/510: ``python -m benchmarks.compression``.

SqueezeNet 1.0 with 1,000 classes and fresh weights is pruned, shared and coded whole, as its paper's table 2 does it
with 8 and 6 bits: bytes beside AlexNet 2012's in float32, and seconds to compress and to decode.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import tinycnn as tc
from benchmarks import write_csv
from tinycnn import models
from tinycnn.compression import container, prune
from tinycnn.compression.quantize import quantize
from tinycnn.compression.share import share

METHODS = {"equal distances": quantize, "k-means": share}


class Row(NamedTuple):
    """SqueezeNet compressed in one way: bytes, how many times smaller than AlexNet, seconds."""

    kept: float
    bits: int
    values: str
    bytes: int
    ratio: float
    compress: float
    decode: float


def measure(kept: float, bits: int, values: str, yardstick: int) -> Row:
    """Compress and decode, and check that every bit is restored."""
    tc.manual_seed(0)
    net = models.build("squeezenet1_0")
    begin = time.perf_counter()
    prune.apply(net, prune.masks(net, kept))
    for weight in prune.weights_of(net).values():
        weight.data[...] = METHODS[values](weight.data, bits)
    data = container.encode(net.state_dict())
    coded = time.perf_counter()
    back = container.decode(data)
    decoded = time.perf_counter()
    assert all(back[name].tobytes() == array.tobytes() for name, array in net.state_dict().items())
    return Row(kept, bits, values, len(data), yardstick / len(data), coded - begin, decoded - coded)


def audit() -> int:
    """Print parameters and bytes of both networks; AlexNet's bytes."""
    names = ("alexnet_2012", "squeezenet1_0")
    counts = [sum(parameter.size for parameter in models.build(name).parameters()) for name in names]
    for name, count in zip(names, counts):
        print(f"{name:13} {count:10,} parameters {4 * count:11,} bytes in float32")
    print(f"{counts[0] / counts[1]:.2f} times fewer; 1/510 of AlexNet are {4 * counts[0] // 510:,} bytes\n")
    return 4 * counts[0]


def main() -> None:
    """Measure, print, write CSV."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compression", description=__doc__)
    parser.add_argument("--kept", nargs="+", type=float, default=[1.0, 0.5, 0.337, 0.2], help="shares of the weights")
    parser.add_argument("--bits", nargs="+", type=int, default=[8, 6], help="of a weight (default 8 6)")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="folder for compression.csv")
    options = parser.parse_args()
    yardstick = audit()
    measure(0.01, 4, "k-means", yardstick)  # compiles the kernels
    print("weights kept  bits  values             bytes  of AlexNet  compress  decode")
    rows = []
    for kept in options.kept:
        for bits in options.bits:
            for values in METHODS:
                rows.append(row := measure(kept, bits, values, yardstick))
                print(
                    f"{100 * kept:10.1f} % {bits:5}  {values:15} {row.bytes:8,}  {f'1/{row.ratio:.1f}':>10}"
                    f"  {row.compress:6.2f} s {row.decode:5.2f} s",
                    flush=True,
                )
    write_csv(options.out / "compression.csv", rows)


if __name__ == "__main__":
    main()
