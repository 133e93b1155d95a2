"""The .tcz file: every bit is restored, and no file that is truncated, damaged or hostile does harm."""

import json
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest

import tinycnn as tc
from tinycnn.compression import container, huffman, prune, quantize, share
from tinycnn.errors import WeightsError

RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=(40, 30)).astype(np.float32)
PRUNED = np.where(abs(NOISE) > 1.5, NOISE, 0).astype(np.float32)
SPECIAL = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, 3e38, 65504, 65520], np.float32)

ARRAYS = {
    "noise": NOISE,
    "pruned": PRUNED,
    "shared": share.share(NOISE, 5),
    "pruned and shared": share.share(PRUNED, 4),
    "linear": quantize.quantize(NOISE, 6),
    "special": SPECIAL,
    "NaN with a payload": np.array([0x7FC00001, 0xFF800002, 0x7F800001], "<u4").view(np.float32),
    "minus zeros": np.full((50, 50), -0.0, np.float32),
    "zeros": np.zeros((3, 100, 7), np.float32),
    "one": np.eye(1, 100_000, 99_999, dtype=np.float32),
    "first": np.eye(1, 3000, dtype=np.float32),
    "halves": NOISE.astype(np.float16).astype(np.float32),
    "half": NOISE.astype(np.float16),
    "double": RNG.normal(size=(5, 6)),
    "int64": np.array(7),
    "int8": RNG.integers(-128, 128, (9, 9)).astype(np.int8),
    "bytes": RNG.integers(0, 256, 10_000).astype(np.uint8),
    "empty": np.zeros((0, 3), np.float32),
    "transposed": PRUNED.T,
    "big-endian": NOISE.astype(">f4"),
}


def same_bits(one, other):
    return one.shape == other.shape and one.dtype == other.dtype and one.tobytes() == other.tobytes()


@pytest.mark.parametrize("huffman_coded", [True, False])
@pytest.mark.parametrize("name", ARRAYS)
def test_every_bit_comes_back(name, huffman_coded):
    array = ARRAYS[name]
    data = container.encode({name: array}, huffman_coded)
    (back,) = container.decode(data).values()
    assert same_bits(back, array.astype(array.dtype.newbyteorder("=")))
    assert len(data) < array.nbytes + 200


@pytest.mark.parametrize("trial", range(30))
def test_random_arrays_come_back(trial):
    rng = np.random.default_rng(trial)
    array = rng.normal(size=rng.integers(0, 40, rng.integers(1, 4))).astype(rng.choice([np.float32, np.float64]))
    array = np.round(array, rng.integers(0, 9)) * (rng.random(array.shape) < rng.random() ** 3)
    arrays = {"a": array.astype(array.dtype), "b": array[:1]}
    back = container.decode(container.encode(arrays))
    assert all(same_bits(back[name], np.ascontiguousarray(arrays[name])) for name in arrays)


def test_a_model_comes_back_by_load(tmp_path):
    tc.manual_seed(0)
    first, second = tc.models.resnet8(width=0.25), tc.models.resnet8(width=0.25)
    size = container.save(tmp_path / "m.tcz", first.state_dict())
    assert (tmp_path / "m.tcz").stat().st_size == size
    second.load(tmp_path / "m.tcz")
    for name, array in first.state_dict().items():
        assert array.tobytes() == second.state_dict()[name].tobytes(), name


def test_few_values_and_many_zeros_take_few_bytes():
    n, nonzero = PRUNED.size, np.count_nonzero(PRUNED)
    shared = share.share(PRUNED, 4)
    values, counts = np.unique(shared[shared != 0], return_counts=True)
    runs = np.diff(np.flatnonzero(shared), prepend=-1) - 1
    bound = nonzero * huffman.entropy(counts) + nonzero * huffman.entropy(np.bincount(runs))
    (entry,) = container.entries(container.encode({"w": shared}))
    assert (entry.nonzero, entry.book, entry.size) == (nonzero, len(values), n)
    tables = 4 * len(values) + len(values) / 2 + 2**entry.run_bits / 2
    assert bound / 8 + tables <= entry.bytes + 1 < 1.1 * bound / 8 + tables


def test_without_huffman_words_are_equally_long():
    shared = share.share(NOISE, 5)
    (entry,) = container.entries(container.encode({"w": shared}, huffman_coded=False))
    assert entry.bytes == 4 * entry.book + -(-entry.book // 2) + NOISE.size * 5 // 8


def test_an_object_array_is_refused_by_name():
    with pytest.raises(WeightsError, match="w has dtype object, expected one of float16"):
        container.encode({"w": np.array([print])})


# -- damage ------------------------------------------------------------------------------------------------------------

SMALL = container.encode({"w": share.share(PRUNED[:10], 4), "b": NOISE[0, :5], "n": np.array(3)})


def test_every_truncation_is_noticed():
    for length in range(len(SMALL)):
        with pytest.raises(WeightsError):
            container.decode(SMALL[:length])
    for more in (b"\0", SMALL):
        with pytest.raises(WeightsError, match="truncated"):
            container.decode(SMALL + more)


def test_every_flipped_bit_is_noticed():
    for bit in range(8 * len(SMALL)):
        damaged = bytearray(SMALL)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WeightsError):
            container.decode(bytes(damaged))


@pytest.mark.parametrize("trial", range(10))
def test_random_bytes_and_random_damage_are_refused(trial):
    rng = np.random.default_rng(trial)
    for _ in range(200):
        damaged = bytearray(SMALL)
        for place in rng.integers(len(damaged), size=rng.integers(1, 30)):
            damaged[place] = rng.integers(256)
        if damaged != SMALL:
            with pytest.raises(WeightsError):
                container.decode(bytes(damaged))
        with pytest.raises(WeightsError):
            container.decode(SMALL[:8] + rng.bytes(rng.integers(200)))


def forged(entries, *parts, text=None):
    """Return a file whose checksums are right, whatever its contents."""
    header = zlib.compress(json.dumps(entries).encode() if text is None else text)
    prefix = struct.pack("<6sHII", container.MAGIC, container.VERSION, len(header), zlib.crc32(header))
    return b"".join([prefix, header, *parts])


def entry(part, **changes):
    return {"name": "w", "dtype": "float32", "shape": [2], "bytes": len(part), "crc32": zlib.crc32(part), **changes}


@pytest.mark.parametrize("trial", range(10))
def test_forged_bytes_with_right_checksums_give_an_error_or_an_array(trial):
    """The decoder must survive damage that a checksum cannot detect."""
    rng = np.random.default_rng(trial)
    (whole,) = container.entries(container.encode({"w": share.share(PRUNED, 4)}))
    data = container.encode({"w": share.share(PRUNED, 4)})
    original = data[-whole.bytes :]
    said = json.loads(zlib.decompress(data[16 : -whole.bytes]))[0]
    refused = 0
    for _ in range(100):
        part = bytearray(original)
        for place in rng.integers(len(part), size=rng.integers(1, 6)):
            part[place] = rng.integers(256)
        key = str(rng.choice(["none", "nonzero", "book", "runs", "run_bits", "run_bytes", "bytes"]))
        changed = {**said, "crc32": zlib.crc32(part)}
        if key in changed:
            changed[key] = int(rng.integers(0, 2 * changed[key] + 2))
        try:
            (back,) = container.decode(forged([changed], bytes(part))).values()
            assert back.shape == PRUNED.shape and back.dtype == np.float32
        except WeightsError:
            refused += 1
    assert refused > 50


HOSTILE = {
    "not a list": (forged(7), "header is damaged"),
    "no entries but names": (forged({"w": 1}), "header is damaged"),
    "a missing size": (forged([{"name": "w"}]), "header is damaged"),
    "a negative size": (forged([entry(b"", shape=[-1])]), "whole numbers of at least 0"),
    "a fraction": (forged([entry(b"", shape=[0.5])]), "whole numbers of at least 0"),
    "a truth value": (forged([entry(b"\0" * 4, shape=[True])]), "whole numbers of at least 0"),
    "a name that is not text": (forged([entry(b"", name=["w"], shape=[0])]), "names must be text"),
    "a name twice": (forged([entry(b"\0" * 8), entry(b"\0" * 8)], b"\0" * 16), "a name stands twice"),
    "an object's dtype": (forged([entry(b"", dtype="object")]), "header is damaged"),
    "a dtype that is a list": (forged([entry(b"", dtype=["float32"])]), "header is damaged"),
    "many dimensions": (forged([entry(b"", shape=[1] * 100_000)]), "more than 32 dimensions"),
    "a huge shape": (forged([entry(b"", shape=[2**62, 2**62])]), "does not fit its 0 bytes"),
    "huge and pruned": (
        forged([entry(b"", shape=[10**12], runs=10**10, run_bits=8, run_bytes=0, nonzero=0)]),
        "does not fit its 10000000000 runs",
    ),
    "nothing times a huge shape": (forged([entry(b"", shape=[0, 2**62])]), "the bytes of 'w' are damaged"),
    "more runs than elements": (
        forged([entry(b"\x11" * 2**20, runs=2**23, run_bits=2, run_bytes=2**20, nonzero=0)], b"\x11" * 2**20),
        "does not fit its 8388608 runs",
    ),
    "huge and shared": (forged([entry(b"\0" * 9, shape=[10**9], book=2)], b"\0" * 9), "does not fit its 9 bytes"),
    "an array a little larger than its runs": (
        forged([entry(b"\x11" * 8, shape=[260], runs=64, run_bits=2, run_bytes=8, nonzero=0)], b"\x11" * 8),
        "does not fit its 64 runs",
    ),
    "runs of 60 bits": (
        forged([entry(b"\0", runs=2, run_bits=60, run_bytes=1, nonzero=0)], b"\0"),
        "runs of 60 bits",
    ),
    "a large code book": (forged([entry(b"\0" * 8, book=10**9)], b"\0" * 8), "more than 256 values"),
    "a code book that is cut off": (forged([entry(b"\0" * 8, book=200)], b"\0" * 8), "code book is cut off"),
    "numbers without end": (forged(None, text=b"[" + b"9" * 100_000 + b"]"), "header is damaged"),
    "deep nesting": (forged(None, text=b"[" * 1_000_000), "header is damaged"),
    "a million lists": (forged(None, text=b"[" + b"[]," * 10**6 + b"[]]"), "header is damaged"),
    "no text at all": (forged(None, text=b"\xff\xfe"), "header is damaged"),
    "not deflated": (
        struct.pack("<6sHII", container.MAGIC, 1, 4, zlib.crc32(b"json")) + b"json",
        "header is damaged",
    ),
    "a pickle": (b"\x80\x04cos\nsystem\n", "not a .tcz file"),
    "another version": (SMALL[:6] + b"\x02\x00" + SMALL[8:], "its version is 2, expected 1"),
    "more than the limit": (container.encode({"w": np.zeros(2**20)}), "more than the 1000000 bytes"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_get_a_clear_error_and_little_memory(name, tmp_path):
    data, message = HOSTILE[name]
    path = tmp_path / "evil.tcz"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=message) as caught:
            container.load(path, limit=10**6)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_the_worst_array_takes_five_times_the_limit(dtype):
    """No zeros, stored as if there were many: each element takes two words."""
    ones = np.ones(2**20, dtype)
    ones[::2] = 2
    form, runs = container._code_runs(np.arange(ones.size), ones.size, True)
    book, values = container._code_values(container._bits_of(ones), dtype == "float32", True)
    evil = forged([entry(runs + values, dtype=dtype, shape=[ones.size], **form, **book)], runs, values)
    container.decode(evil)  # compiles the kernels
    tracemalloc.start()
    try:
        (back,) = container.decode(evil, limit=ones.nbytes).values()
        assert tracemalloc.get_traced_memory()[1] < 5 * ones.nbytes
    finally:
        tracemalloc.stop()
    assert same_bits(back, ones)


def test_the_limit_is_for_all_arrays_together():
    data = container.encode({"a": np.zeros(1000, np.float32), "b": np.zeros(1000, np.float32)})
    assert len(container.decode(data, limit=8000)) == 2
    with pytest.raises(WeightsError, match="its arrays would take more than the 7999 bytes that are allowed"):
        container.decode(data, limit=7999)


def test_expected_shapes_limit_what_is_decoded(tmp_path):
    container.save(tmp_path / "w.tcz", {"w": np.zeros(2**22, np.float32)})
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=r"'w' has shape \(4194304,\), expected \(3, 4\)"):
            tc.weights.load(tmp_path / "w.tcz", {"w": np.zeros((3, 4))})
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()
    assert tc.weights.load(tmp_path / "w.tcz", {"v": np.zeros((3, 4))})["w"].size == 2**22


def test_the_setting_limits_it_too(tmp_path, monkeypatch):
    container.save(tmp_path / "w.tcz", {"w": np.zeros(1000, np.float32)})
    monkeypatch.setenv("TINYCNN_UNPACK_LIMIT", "3999")
    with pytest.raises(WeightsError, match="more than the 3999 bytes"):
        tc.weights.load(tmp_path / "w.tcz")


def test_bytes_behind_the_deflated_header_are_refused():
    data, head = container.encode({"w": np.zeros(2, np.float32)}), container._PREFIX
    magic, version, length, _ = head.unpack_from(data)
    header = data[head.size : head.size + length] + b"x"
    forged = head.pack(magic, version, len(header), zlib.crc32(header)) + header + data[head.size + length :]
    with pytest.raises(WeightsError, match="the header is cut off, or longer"):
        container.decode(forged)


@pytest.mark.parametrize("name", [3, b"w", "\ud800", None])
def test_names_that_are_not_text_are_refused(name):
    with pytest.raises(WeightsError, match="name"):
        container.encode({"3": np.zeros(2), name: np.zeros(2)})
    with pytest.raises(WeightsError, match="arrays is a list, expected a mapping"):
        container.encode([name])


def test_any_other_failure_names_the_file(tmp_path, monkeypatch):
    container.save(tmp_path / "w.tcz", {"w": np.zeros(10)})

    def fail(*_):
        raise MemoryError("no room")

    monkeypatch.setattr(container, "decode", fail)
    with pytest.raises(WeightsError, match=r"w\.tcz: it is damaged \(MemoryError: no room\)"):
        container.load(tmp_path / "w.tcz")


def test_a_deflate_bomb_stops_at_4_megabytes():
    bomb = forged(None, text=b" " * 2**27)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match="the header is cut off, or longer than 4194304 bytes"):
            container.decode(bomb)
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()


def test_a_file_of_zeros_is_not_larger_in_memory_than_its_bytes_tell():
    """The highest run, in words of one bit, is the most that a byte can hold."""
    (told,) = container.entries(container.encode({"w": np.zeros(10**7, np.float32)}))
    assert told.nbytes <= 8 * 256 * 4 * told.bytes


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with open(tmp_path / "large.tcz", "wb") as file:
        file.truncate(2**30)
    with pytest.raises(WeightsError, match="it has 1073741824 bytes, more than the 1000 that are allowed"):
        container.load(tmp_path / "large.tcz", limit=1000)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        container.load(tmp_path / "none.tcz")


def test_squeezenet_compresses_in_a_minute_and_decodes_in_two_seconds():
    """Processor time, on one core: version 1.0 with 1000 classes, 1,248,424 parameters."""
    tc.manual_seed(0)
    model = tc.models.squeezenet1_0()
    container.decode(container.encode({"w": share.share(PRUNED, 4)}))  # compiles the kernels
    start = time.process_time()
    prune.apply(model, prune.masks(model, 0.337, "global"))
    for weight in prune.weights_of(model).values():
        weight.data[...] = share.share(weight.data, 6)
    data = container.encode(model.state_dict())
    compressed = time.process_time()
    back = container.decode(data)
    decoded = time.process_time()
    assert all(back[name].tobytes() == array.tobytes() for name, array in model.state_dict().items())
    assert compressed - start < 60 and decoded - compressed < 2
    assert len(data) < 4 * 1_248_424 / 8
