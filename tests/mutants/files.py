"""Planted mistakes in reading and writing files: data, weights, checkpoints, compression."""

from tests.mutants.mutant import Mutant

_WEIGHTS = "tests/weights"
_COMPRESSION = "tests/compression"

MUTANTS = tuple(
    Mutant(*row)
    for row in (
        # -- weights and checkpoints
        (
            "tinycnn/checkpoint.py",
            '"tree": tree}, checksum=True)',
            '"tree": tree}, checksum=False)',
            "tests/test_checkpoint.py",
        ),
        (
            "tinycnn/checkpoint.py",
            "if saved == str(FORMAT) and CHECKSUM not in metadata:",
            "if False:",
            "tests/test_checkpoint.py",
        ),
        (
            "tinycnn/tree.py",
            'while name in arrays or name == "__metadata__":',
            "while name in arrays:",
            "tests/test_tree.py",
        ),
        (
            "tinycnn/files",
            "values[exponent == 2**exponent_bits - 1] = np.nan",
            "values[exponent == 2**exponent_bits] = np.nan",
            _WEIGHTS,
        ),
        ("tinycnn/files", "        at += len(chunk)", "        at = len(chunk)", _WEIGHTS),
        ("tinycnn/weights/npz.py", "if len(shape) > 64 or any(", "if any(", _WEIGHTS),
        (
            "tinycnn/weights/safetensors.py",
            'array.astype(array.dtype.newbyteorder("<"), copy=False).reshape(-1)',
            "array.reshape(-1)",
            _WEIGHTS,
        ),
        (
            "tinycnn/weights/torch_pickle.py",
            "if known.setdefault(storage.key, storage) != storage:",
            "if False:",
            _WEIGHTS,
        ),
        ("tinycnn/weights/pickle_machine.py", "if len(arguments) > _MOST_ARGUMENTS:", "if False:", _WEIGHTS),
        (
            "tinycnn/weights/state.py",
            "if all(name.startswith(p) and name != p for name in changed)",
            "if any(name.startswith(p) and name != p for name in changed)",
            _WEIGHTS,
        ),
        # -- data
        (
            "tinycnn/data/registry.py",
            "chosen = np.linspace(0, len(images) - 1, limit).astype(int)",
            "chosen = np.arange(limit)",
            "tests/data",
        ),
        (
            "tinycnn/data/loader.py",
            "if not 0 <= rank < ranks:",
            "if not 0 <= rank <= ranks:",
            "tests/data/test_loader.py",
        ),
        (
            "tinycnn/data/loader.py",
            "[self.seed, self.epoch, number, 1]",
            "[self.seed, 0, number, 1]",
            "tests/data/test_loader.py",
        ),
        (
            "tinycnn/data/loader.py",
            "self.resumed = True",
            "self.resumed = False",
            "tests/data/test_loader.py",
        ),
        (
            "tinycnn/data/transforms.py",
            "    if min(room_y, room_x) < 0:",
            "    if max(room_y, room_x) < 0:",
            "tests/data/test_transforms.py",
        ),
        (
            "tinycnn/data/png_bands.py",
            "bytes_per_pixel = max(1, _CHANNELS[colour] * depth // 8)",
            "bytes_per_pixel = _CHANNELS[colour]",
            "tests/data",
        ),
        ("tinycnn/data/idx.py", "if found[0] and found[1]:", "if found[0] or found[1]:", "tests/data/test_idx.py"),
        (
            "tinycnn/data/keras.py",
            'if labels.ndim != 1 or labels.dtype.kind not in "iu":',
            "if labels.ndim != 1:",
            "tests/data",
        ),
        # -- compression
        ("tinycnn/compression/share.py", "np.where(self.pruned[name], 0, sums)", "sums", _COMPRESSION),
        ("tinycnn/compression/prune.py", "data *= before[name] /", "data *= 1 * before[name] * 0 + 1 /", _COMPRESSION),
        (
            "tinycnn/compression/prune.py",
            "return keep + (1 - keep) * (1 - progress) ** 3",
            "return keep + (1 - keep) * (1 - progress) ** 2",
            "tests/compression tinycnn/compression/prune.py",
        ),
        ("tinycnn/compression/quantize.py", "/ (2 ** (bits - 1) - 1)", "/ 2 ** (bits - 1)", "tests/compression"),
        (
            "tinycnn/compression/container.py",
            "self.size > self.runs * 2**self.run_bits",
            "self.size > 2 * self.runs * 2**self.run_bits",
            "tests/compression/test_container.py",
        ),
        (
            "tinycnn/compression/huffman.py",
            "padded = np.append(lengths, np.zeros(alphabet % 2, np.uint8))",
            "padded = lengths",
            "tests/compression/test_huffman.py",
        ),
        (
            "tinycnn/compression/pipeline.py",
            "before += len(kept)",
            "before = len(kept)",
            "tests/compression/test_compress.py",
        ),
        (
            "tinycnn/compression/share.py",
            "return n * b / (n * math.ceil(math.log2(k)) + k * b)",
            "return n * b / (n * math.log2(k) + k * b)",
            "tests/compression tinycnn/compression/share.py",
        ),
        ("tinycnn/data/cifar.py", "(labels >= len(entry.classes))", "(labels > len(entry.classes))", "tests/data"),
        (
            "tinycnn/data/glyphs.py",
            "labels = np.arange(count) % len(text)",
            "labels = np.arange(count) // len(text)",
            "tests/data/test_glyphs.py",
        ),
        (
            "tinycnn/data/fetch.py",
            "return path.is_file() and _md5(path) == item.md5",
            "return path.is_file()",
            "tests/data/test_fetch.py",
        ),
    )
)
