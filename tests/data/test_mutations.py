"""Damaged files of every format: the same contents, other pixels where a format has no checksum, or a DataError that
names the file; never another error.
"""

import gzip
import io
import pickle
import struct

import numpy as np
import pytest

from tinycnn.data.cifar import load_cifar
from tinycnn.data.dataset import load_npz
from tinycnn.data.idx import read_idx
from tinycnn.data.image import read_image
from tinycnn.errors import DataError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (3, 3072), dtype=np.uint8)
PHOTO = RNG.integers(0, 256, (24, 30, 3), dtype=np.uint8)
CHECKED = ("png", "png16", "npz", "npz.gz", "idx.gz")  # formats with a checksum: other contents are noticed


def image_bytes(pixels, kind, **options):
    image = pytest.importorskip("PIL.Image")
    buffer = io.BytesIO()
    image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def npz_bytes(save):
    buffer = io.BytesIO()
    images = PIXELS[:, :96].reshape(6, 3, 4, 4)
    save(buffer, images=images, labels=np.arange(6) % 2, classes=np.array(["a", "b"]))
    return buffer.getvalue()


def bytes_of(kind):
    """Return a whole file of a format."""
    idx = bytes([0, 0, 8, 2]) + struct.pack(">II", *PIXELS.shape) + PIXELS.tobytes()
    records = b"".join(bytes([label]) + row.tobytes() for label, row in zip((1, 2, 3), PIXELS))
    batch = {"data": PIXELS, "labels": [1, 2, 3]}
    makers = {
        "idx": lambda: idx,
        "idx.gz": lambda: gzip.compress(idx, mtime=0),
        "npz": lambda: npz_bytes(np.savez),
        "npz.gz": lambda: npz_bytes(np.savez_compressed),
        "cifar": lambda: records,
        "cifar.py": lambda: pickle.dumps(batch, protocol=2),
        "png": lambda: image_bytes(PHOTO, "png"),
        "png16": lambda: image_bytes(PHOTO[..., 0].astype(np.uint16) * 256, "png"),
        "tif": lambda: image_bytes(PHOTO, "tiff", compression="tiff_lzw"),
        "tif32": lambda: image_bytes(PHOTO[..., 0].astype(np.float32), "tiff"),
        "gif": lambda: image_bytes(PHOTO[..., 0], "gif"),
    }
    suffixes = {"jpg": "jpeg", "bmp": "bmp", "ppm": "ppm", "webp": "webp"}
    return makers[kind]() if kind in makers else image_bytes(PHOTO, suffixes[kind])


def read(kind, path):
    if kind in ("idx", "idx.gz"):
        return [read_idx(path)]
    if kind in ("npz", "npz.gz"):
        return list(load_npz(path, "train"))
    if kind.startswith("cifar"):
        return list(load_cifar("cifar10", path.parent, "test"))
    return [read_image(path, 8, 3, (0, 255) if kind == "tif32" else None)]


def mutated(data, rng):
    """Return damaged bytes: a bit flipped, bytes overwritten, cut off, zeroed, inserted, or two parts swapped."""
    data, at = bytearray(data), int(rng.integers(len(data)))
    length = int(rng.integers(1, 40))
    way = rng.integers(6)
    if way == 0:
        data[at] ^= 1 << int(rng.integers(8))
    elif way == 1:
        data[at : at + length] = rng.bytes(length)
    elif way == 2:
        del data[at:]
    elif way == 3:
        data[at : at + length] = bytes(length)
    elif way == 4:
        data[at:at] = rng.bytes(length)
    else:
        other = int(rng.integers(len(data)))
        data[at : at + length], data[other : other + length] = data[other : other + length], data[at : at + length]
    return bytes(data)


def try_mutations(kind, folder, count, seed):
    """Count files refused by name, read with the same contents, and read with others."""
    name = {"cifar": "test_batch.bin", "cifar.py": "test_batch"}.get(kind, f"a.{kind}")
    path, whole, rng = folder / name, bytes_of(kind), np.random.default_rng(seed)
    path.write_bytes(whole)
    expected = read(kind, path)
    refused = same = other = 0
    for _ in range(count):
        path.write_bytes(mutated(whole, rng))
        try:
            found = read(kind, path)
        except DataError as error:
            assert str(path) in str(error)
            refused += 1
        else:
            equal = all(np.array_equal(a, b) for a, b in zip(found, expected))
            same, other = same + equal, other + (not equal)
    return refused, same, other


KINDS = ["idx", "idx.gz", "npz", "npz.gz", "cifar", "cifar.py", "png", "png16", "jpg", "bmp", "gif", "ppm", "tif"]
KINDS += ["tif32", "webp"]


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files(tmp_path, kind):
    refused, same, other = try_mutations(kind, tmp_path, 25, seed=1)
    assert refused + same + other == 25
    assert refused and (not other or kind not in CHECKED)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files(tmp_path, kind):
    refused, same, other = try_mutations(kind, tmp_path, 400, seed=2)
    print(f"{kind}: {refused} refused, {same} same, {other} other contents")
    assert not other or kind not in CHECKED
