"""PyTorch's .pth files: what the format may say, and hostile files. (With PyTorch itself: test_weights.py.)"""

import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from tests.weights.pickles import (
    DATA,
    EMPTY,
    VALUES,
    call,
    dict_of,
    legacy,
    name,
    number,
    numbers,
    storage,
    table,
    tensor,
    text,
    tuple_of,
    zipped,
)
from tinycnn import weights
from tinycnn.errors import WeightsError
from tinycnn.weights.pickle_machine import Opaque, set_item

GOOD = dict_of(w=tensor())
LAYOUTS = [zipped, legacy]


def load(tmp_path, data, file="w.pth"):
    (tmp_path / file).write_bytes(data)
    return weights.load(tmp_path / file)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "file", ["w.pth", "w.PTH", "w.pt", "w.pth.tar", "w.th", "w.bin", "w.ckpt", "w", "w.npz", "w.safetensors", "ü.model"]
)
def test_the_content_decides_whatever_the_name(tmp_path, layout, file):
    np.testing.assert_array_equal(load(tmp_path, layout(GOOD), file)["w"], VALUES)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("offset", "shape", "strides", "expected"),
    [
        (0, (2, 3), (3, 1), VALUES.reshape(2, 3)),
        (0, (3, 2), (1, 3), VALUES.reshape(2, 3).T),
        (1, (2, 2), (3, 1), VALUES.reshape(2, 3)[:, 1:]),
        (1, (3,), (2,), VALUES[1::2]),
        (5, (), (), VALUES[5]),
        (2, (4, 5), (0, 0), np.full((4, 5), 2)),
        (0, (2, 6), (0, 1), np.tile(VALUES, (2, 1))),
        (0, (3, 2), (1, 1), [[0, 1], [1, 2], [2, 3]]),
        (0, (0, 3), (3, 1), np.zeros((0, 3))),
        (6, (0,), (1,), np.zeros(0)),
    ],
)
def test_any_strides_give_their_values(tmp_path, layout, offset, shape, strides, expected):
    found = load(tmp_path, layout(dict_of(w=tensor(None, offset, shape, strides))))["w"]
    assert found.shape == shape and found.dtype == np.float32 and found.flags.writeable
    np.testing.assert_array_equal(found, expected)


DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("kind", DTYPES)
def test_every_storage_and_byte_order(tmp_path, kind, big):
    values = np.array([1, 0, 1, 100]).astype(DTYPES[kind])
    data = values.astype(values.dtype.newbyteorder(">" if big else "<")).tobytes()
    pickle = dict_of(w=tensor(storage("0", 4, kind), 1, (3,), (1,)))
    found = load(tmp_path, zipped(pickle, {"0": data}, byteorder=b"big" if big else b"little"))["w"]
    assert found.dtype == values.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, values[1:])


def test_bfloat16_is_widened(tmp_path):
    bits = np.array([0x3F80, 0xC000, 0x7F80, 0x0001, 0x8000], "<u2")
    found = load(
        tmp_path, zipped(dict_of(w=tensor(storage("0", 5, "BFloat16Storage"), 0, (5,))), {"0": bits.tobytes()})
    )
    np.testing.assert_array_equal(found["w"], np.array([1, -2, np.inf, 2.0**-133, -0.0], np.float32))
    assert found["w"].dtype == np.float32 and np.signbit(found["w"][4])


def typed(dtype, size, count):
    store = storage("0", size, "UntypedStorage", "torch.storage")
    arguments = number(0), numbers((count,)), numbers((1,)), b"\x89", EMPTY, name("torch", dtype)
    return call(name("torch._utils", "_rebuild_tensor_v3"), store, *arguments)


@pytest.mark.parametrize(
    ("dtype", "data", "expected"),
    [
        ("uint16", np.array([1, 65535], "<u2"), np.array([1, 65535], np.uint16)),
        ("uint32", np.array([2**31], "<u4"), np.array([2**31], np.uint32)),
        ("uint64", np.array([2**63], "<u8"), np.array([2**63], np.uint64)),
        ("float8_e4m3fn", b"\x38\xb8\x7e\x01\x7f", np.array([1, -1, 448, 2**-9, np.nan], np.float32)),
        ("float8_e5m2", b"\x3c\x7b\x7c\xfc\x01\x7d", np.array([1, 57344, np.inf, -np.inf, 2**-16, np.nan], np.float32)),
        ("float8_e4m3fnuz", b"\x40\x7f\x80", np.array([1, 240, np.nan], np.float32)),
        ("float8_e5m2fnuz", b"\x40\x7f\x80", np.array([1, 57344, np.nan], np.float32)),
        ("float8_e8m0fnu", b"\x7f\x80\x00\xff", np.array([1, 2, 2.0**-127, np.nan], np.float32)),
    ],
)
def test_dtypes_of_untyped_storages(tmp_path, dtype, data, expected):
    data = bytes(data)
    found = load(tmp_path, zipped(dict_of(w=typed(dtype, len(data), len(expected))), {"0": data}))["w"]
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (tensor(storage("0", 3, "ComplexFloatStorage"), 0, (3,)), "tensor w is complex"),
        (typed("complex64", 24, 3), "tensor w is complex"),
        (
            call(
                name("torch._utils", "_rebuild_meta_tensor_no_storage"), name("torch", "float32"), *[numbers([3])] * 2
            ),
            "tensor w has no data",
        ),
        (number(3), "the entry 'w' of its state dict is a int, expected a tensor"),
        (b"N", "the entry 'w' of its state dict is a NoneType"),
        (call(name("torch._utils", "_rebuild_sparse_tensor")), "it asks for torch._utils._rebuild_sparse_tensor"),
    ],
)
def test_what_cannot_be_a_weight_is_refused_by_name(tmp_path, value, message):
    with pytest.raises(WeightsError, match=message):
        load(tmp_path, zipped(dict_of(v=tensor(), w=value)))


def test_parameters_and_tensors_with_attributes(tmp_path):
    parameter = call(name("torch._utils", "_rebuild_parameter"), tensor(), b"\x88", EMPTY)
    state = call(name("torch._utils", "_rebuild_parameter_with_state"), tensor(), b"\x88", EMPTY, dict_of(tag=b"N"))
    inner = storage(), number(0), numbers((6,)), numbers((1,)), b"\x89", EMPTY
    build, kind = name("torch._utils", "_rebuild_tensor_v2"), name("torch", "Tensor")
    attributes = call(name("torch._tensor", "_rebuild_from_type_v2"), build, kind, tuple_of(*inner), dict_of(tag=b"N"))
    found = load(tmp_path, zipped(dict_of(a=parameter, b=state, c=attributes)))
    assert list(found) == ["a", "b", "c"]
    assert all((array == VALUES).all() for array in found.values())


def test_tied_layers_are_one_array_and_other_views_are_not(tmp_path):
    found = load(tmp_path, zipped(dict_of(a=tensor(), b=tensor(), c=tensor(None, 0, (2, 3), (3, 1)))))
    assert found["a"] is found["b"]
    found["c"][0, 0] = 7
    assert found["a"][0] == 0


@pytest.mark.parametrize("proto", [0, 1, 2, 4])
def test_state_dicts_of_other_protocols(tmp_path, proto):
    """OrderedDicts with attributes, as state_dict() gives them, in the operations of each protocol."""
    if proto == 4:
        short = b"\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x93\x94)R\x94"
        pickle = b"\x80\x04\x95" + bytes(8) + short + b"\x8c\x01w\x94" + tensor() + b"s}\x8c\x09_metadataNsb"
    elif proto == 2:
        pickle = EMPTY + b"q\x05(" + text("w") + tensor() + b"u}q\x06" + text("_metadata") + EMPTY + b"sb"
    else:
        made = b"ccollections\nOrderedDict\np0\n" + (b"((lp1\n(lp2\nVw\np3\na" if proto else b"((l(lS'w'\na")
        pickle = made + tensor() + b"aatR"
    np.testing.assert_array_equal(load(tmp_path, zipped(pickle))["w"], VALUES)


# -- where the state dict is -------------------------------------------------------------------------------------------

CHECKPOINT_KEYS = (
    "state_dict model_state_dict model_state model net network weights params module state ema params_ema".split()
)
BESIDE = {
    "epoch": number(3),
    "loss": b"G" + struct.pack(">d", 0.5),
    "optimizer_state_dict": dict_of(
        state=table((number(0), dict_of(momentum_buffer=tensor(storage("9"))))), groups=b"]"
    ),
    "device": call(name("torch", "device"), text("cpu")),
    "args": name("argparse", "Namespace") + b")\x81" + dict_of(lr=b"N") + b"b",
    "best": call(
        name("numpy._core.multiarray", "scalar"), call(name("numpy", "dtype"), text("f8")), b"C\x08" + bytes(8)
    ),
    "seen": b"\x8f(" + number(1) + b"\x90",
    "shapes": table((numbers((1, 2)), b"N"), (b"G" + bytes(8), b"N")),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("key", CHECKPOINT_KEYS)
def test_the_state_dict_of_a_checkpoint(tmp_path, key, layout):
    data = {"0": DATA["0"], "9": bytes(24)}
    once = dict_of(**BESIDE, **{key: GOOD})
    twice = dict_of(**BESIDE, **{key: dict_of(epoch=b"N", state_dict=GOOD)})
    for tree in (once, twice):
        found = load(tmp_path, layout(tree, data))
        assert list(found) == ["w"]
        np.testing.assert_array_equal(found["w"], VALUES)


def test_tensors_beside_the_state_dict_are_not_taken_for_it(tmp_path):
    data = {"0": DATA["0"], "9": bytes(24)}
    for inner in (GOOD, dict_of(epoch=b"N", state_dict=GOOD)):
        found = load(tmp_path, LAYOUTS[0](dict_of(rng=tensor(storage("9")), model=inner), data))
        assert list(found) == ["w"]
        np.testing.assert_array_equal(found["w"], VALUES)
    with pytest.raises(WeightsError, match=r"the entry 'params' of its state dict is a dict"):
        load(tmp_path, LAYOUTS[0](dict_of(w=tensor(storage("9")), params=dict_of(lr=b"N")), data))


def test_without_a_known_key_the_keys_are_listed(tmp_path):
    with pytest.raises(WeightsError, match=r"its keys are encoder, epoch\. Save the one with the weights by itself"):
        load(tmp_path, zipped(dict_of(encoder=GOOD, epoch=number(3))))
    for tree, message in (
        (b"}", "it is empty"),
        (b"]", "it is a list"),
        (tensor(), "one tensor, expected a state dict"),
        (b"]" + tensor() + b"a", "it is a list"),
        (dict_of(model=b"N"), "its keys are model"),
        (table((numbers((1,)), tensor())), "a name in its state dict is not text"),
        (table((number(0), tensor()), (text("0"), tensor())), "two tensors are called '0'"),
    ):
        with pytest.raises(WeightsError, match=message):
            load(tmp_path, zipped(tree))


def test_a_layer_called_as_a_key_is_a_layer(tmp_path):
    found = load(tmp_path, zipped(dict_of(**{"model": tensor(), "net.w": tensor()})))
    assert list(found) == ["model", "net.w"]


def test_extra_state_is_left_out(tmp_path):
    found = load(tmp_path, zipped(dict_of(**{"w": tensor(), "_extra_state": b"N", "q._extra_state": tensor()})))
    assert list(found) == ["w"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["module.a.w", "module.b"], ["a.w", "b"]),
        (["_orig_mod.a.w", "_orig_mod.b"], ["a.w", "b"]),
        (["module._orig_mod.a.w", "module._orig_mod.b"], ["a.w", "b"]),
        (["_orig_mod.module.a.w", "_orig_mod.module.b"], ["a.w", "b"]),
        (["body._orig_mod.w", "head.w"], ["body.w", "head.w"]),
        (["module.a.w", "b"], ["module.a.w", "b"]),
        (["modules.a", "modules.b"], ["modules.a", "modules.b"]),
    ],
)
def test_prefixes_of_wrappers_are_dropped_if_all_names_have_them(tmp_path, names, expected):
    assert list(load(tmp_path, zipped(dict_of(**dict.fromkeys(names, tensor()))))) == expected


def test_expected_names_keep_their_prefix(tmp_path):
    path = tmp_path / "w.pth"
    path.write_bytes(zipped(dict_of(**{"module.a": tensor(), "module.b": tensor()})))
    assert list(weights.load(path, {"module.a": VALUES, "module.b": VALUES})) == ["module.a", "module.b"]
    assert list(weights.load(path, {"a": VALUES, "c": VALUES})) == ["a", "b"]
    weights.save(tmp_path / "w.npz", {"module.a": VALUES})
    assert list(weights.load(tmp_path / "w.npz")) == ["module.a"]
    assert list(weights.load(tmp_path / "w.npz", {"module.a": VALUES})) == ["module.a"]
    assert list(weights.load(tmp_path / "w.npz", {"a": VALUES})) == ["a"]


# -- hostile pickles ---------------------------------------------------------------------------------------------------


def nested(depth, inside=b"N"):
    return inside + b"\x85" * depth


def exponential(depth):
    """A tuple of the same tuple twice, and so on: its hash takes 2^depth steps."""
    return b")" + b"2\x86" * depth


MACHINE = name("torch._utils", "_rebuild_tensor_v2")
HOSTILE = {
    "an exponential key": table((exponential(60), b"N")),
    "a deep key": table((nested(60_000), b"N")),
    "a deep value": dict_of(w=nested(60_000)),
    "an exponential persistent id": exponential(60) + b"Q",
    "a list that holds itself": b"]2a",
    "a dict that holds itself": b"}2" + text("state_dict") + b"2s",
    "a memo index of 2^27": b"Nr" + (2**27).to_bytes(4, "little"),
    "a memo index of 2^31": b"Nr" + (2**31).to_bytes(4, "little"),
    "a text memo index of 10^12": b"Np1000000000000\n",
    "a memo index that is not there": b"j" + (2**31).to_bytes(4, "little"),
    "an integer of 2^31 bytes": b"\x8b" + (2**31 - 1).to_bytes(4, "little"),
    "an integer of a negative length": b"\x8b" + (2**32 - 1).to_bytes(4, "little"),
    "an integer of 100,000 bytes": b"\x8b" + (100_000).to_bytes(4, "little") + b"\x7f" * 100_000,
    "an integer of 4,000 digits": b"L" + b"9" * 4000 + b"L\n",
    "an integer of 10^6 digits": b"I" + b"9" * 10**6 + b"\n",
    "text of 4 GB": b"X" + b"\xff" * 4,
    "text of 2^63 bytes": b"\x8d" + (2**63).to_bytes(8, "little"),
    "bytes of 2^63 bytes": b"\x8e" + (2**63).to_bytes(8, "little"),
    "a bytearray of 2^40 bytes": b"\x96" + (2**40).to_bytes(8, "little"),
    "a frame of 2^63 bytes": b"\x95" + (2**63).to_bytes(8, "little"),
    "an empty stack": b"0",
    "an empty stack and a dict": b"s",
    "a tuple of nothing": b"\x87",
    "an end without a mark": b"u",
    "no end": b"N" * 100,
    "colliding keys": b"}(" + b"".join(number((2**61 - 1) * i) + b"N" for i in range(10_000)) + b"u",
    "an extension code": b"\x82\x01",
    "a buffer outside": b"\x97",
    "a persistent name in text": b"Pname\n",
    "defaults of a function of ours": MACHINE + b"N" + dict_of(__defaults__=b")") + b"\x86b",
    "attributes of a tensor": tensor() + dict_of(shape=b"N") + b"b",
    "items of a function": MACHINE + text("a") + b"Ns",
    "items of a tensor": tensor() + number(0) + b"Ns",
    "appending to a tuple": b")Na",
    "appending to a function": MACHINE + b"Na",
    "calling text": text("os.system") + b")R",
    "calling a dict": b"})R",
    "calling a storage type": name("torch", "FloatStorage") + b")R",
    "calling with a list": MACHINE + b"]R",
    "calling with many arguments": name("torch", "Size") + b"(" + b"N" * 1000 + b"tR",
    "calling with few arguments": call(MACHINE, storage()),
    "a new object of a function": MACHINE + b")\x81",
    "an object of a function": b"(" + MACHINE + b"o",
    "os.system": call(name("os", "system"), text("exit 3")),
    "torch.load": call(name("torch", "load"), text("x")),
    "another name of torch._utils": name("torch._utils", "import_dill"),
    "another name of collections": name("collections", "namedtuple"),
    "a dotted name": b"\x8c\x0ctorch._utils\x8c\x0d__builtins__.a\x93",
    "the right name in another module": call(name("posix", "_rebuild_tensor_v2"), storage()),
    "a name that is not text": b"NN\x93",
    "a name of control characters": name("\x1b[2Jtorch", "x" * 3000),
    "pairs used twice": b"]" + text("w") + tensor() + b"\x86aq\x00"
    + (b"0" + name("collections", "OrderedDict") + b"h\x00\x85R") * 3,
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_pickles_are_refused_with_little_memory(tmp_path, kind, layout):
    data = layout(HOSTILE[kind])
    path = tmp_path / "evil.pth"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError) as caught:
            weights.load(path)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(f"{path} is refused: ")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1000


def test_the_number_of_operations_is_limited(tmp_path, monkeypatch):
    monkeypatch.setattr("tinycnn.weights.pickle_machine.MOST_OPERATIONS", 1000)
    assert list(load(tmp_path, zipped(dict_of(w=tensor(), v=tensor())))) == ["w", "v"]
    with pytest.raises(WeightsError, match="its pickle has more than 1000 operations"):
        load(tmp_path, zipped(b"N" * 1001))


@pytest.mark.parametrize(
    ("pickle", "message"),
    [
        (HOSTILE["calling with many arguments"], "it calls torch.Size with 1000 arguments, more than 16"),
        (dict_of(w=tensor(storage(module="evil"))), "it asks for evil.FloatStorage, and only tensors"),
        (name("evil", "int8"), "it asks for evil.int8"),
        (name("collections", "_rebuild_tensor_v2"), "it asks for collections._rebuild_tensor_v2"),
        (HOSTILE["an integer of 100,000 bytes"], "a whole number has 100000 bytes, more than 128"),
        (HOSTILE["defaults of a function of ours"], "attributes are set on a Name"),
    ],
)
def test_each_limit_gives_its_own_reason(tmp_path, pickle, message):
    with pytest.raises(WeightsError, match=message):
        load(tmp_path, zipped(pickle))


def test_keys_that_could_collide_or_nest_are_not_hashed():
    table_of_keys = {}
    for key in (2**61 - 1, -(2**62), 0.5, (1, 2), b"x"):
        set_item(table_of_keys, key, None)
    assert [type(key) for key in table_of_keys] == [Opaque] * 5
    for key in ("w", 3, True, None):
        set_item(table_of_keys, key, None)
    assert [key for key in table_of_keys if type(key) is not Opaque] == ["w", 3, True, None]


def test_a_byte_order_is_a_short_word(tmp_path):
    with pytest.raises(WeightsError, match="byteorder' has 100 bytes, more than the 16"):
        load(tmp_path, zipped(GOOD, byteorder=b"little" + b" " * 94))
    assert list(load(tmp_path, zipped(GOOD, byteorder=b"little\n"))) == ["w"]


TENSORS = {
    "one element beyond": tensor(None, 1),
    "an offset beyond": tensor(None, 6, (), ()),
    "strides beyond": tensor(None, 0, (2, 2), (5, 1)),
    "a shape of 2^61": tensor(None, 0, (2**61,)),
    "a shape of 2^62": tensor(None, 0, (2**62, 2**62), (0, 0)),
    "an empty shape of 2^62": tensor(None, 0, (0, 2**62), (1, 1)),
    "a negative shape": tensor(None, 0, (-1,)),
    "a negative stride": tensor(None, 5, (6,), (-1,)),
    "a negative offset": tensor(None, -1, (1,)),
    "a shape of 70 dims": tensor(None, 0, (1,) * 70, (1,) * 70),
    "fewer strides": tensor(None, 0, (2, 3), (1,)),
    "expanded to 4 GB": tensor(None, 0, (2**15, 2**15), (0, 0)),
    "a fraction": call(MACHINE, storage(), number(0), tuple_of(b"G" + bytes(8)), numbers((1,)), b"\x89", EMPTY),
    "a truth value": call(MACHINE, storage(), b"\x88", numbers((1,)), numbers((1,)), b"\x89", EMPTY),
    "no storage": call(MACHINE, b"N", number(0), numbers((1,)), numbers((1,)), b"\x89", EMPTY),
    "a storage of another size": tensor(storage("0", 7)),
    "a storage of 2^40": tensor(storage("0", 2**40)),
    "a storage of 2^70": tensor(storage("0", 2**70)),
    "a negative storage": tensor(storage("0", -6)),
    "another storage's key": tensor(storage("1")),
    "a key with a path": tensor(storage("../../data.pkl")),
    "a view of a storage": tensor(storage("0", 6, "FloatStorage", "torch", tuple_of(text("1"), number(0), number(6)))),
    "a dtype for a storage": tensor(
        tuple_of(text("storage"), name("torch", "int8"), *[text("0")] * 2, number(6)) + b"Q"
    ),
    "a storage that is a name": tensor(name("torch", "FloatStorage")),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", TENSORS)
def test_tensors_that_lie_are_refused(tmp_path, kind, layout):
    with pytest.raises(WeightsError, match=r"evil\.pth is refused: "):
        load(tmp_path, layout(dict_of(w=TENSORS[kind])), "evil.pth")


def test_many_views_of_one_storage_are_read_once_or_refused(tmp_path):
    data = {"0": bytes(2**20)}
    store = storage("0", 2**18)
    many = {f"w{i}": tensor(store, i % 8, (2**18 - 8,)) for i in range(3000)}
    found = load(tmp_path, zipped(dict_of(**many), data))
    assert len({id(array) for array in found.values()}) == 8
    many = {f"w{i}": tensor(store, i, (2**18 - 99,)) for i in range(90)}
    with pytest.raises(WeightsError, match="they repeat their storages too often"):
        load(tmp_path, zipped(dict_of(**many), data))


# -- hostile archives --------------------------------------------------------------------------------------------------


def patched(data, offset, *values):
    return data[:offset] + bytes(values) + data[offset + len(values) :]


WHOLE = zipped(GOOD)
PACKED = zipped(GOOD, compression=zipfile.ZIP_DEFLATED)
CENTRAL = WHOLE.index(b"PK\x01\x02")
BIG = bytes(60 * 2**20)


def link(data):
    at = data.rindex(b"PK\x01\x02") + 38
    return data[:at] + (0o120777 << 16).to_bytes(4, "little") + data[at + 4 :]


ARCHIVES = {
    "no data.pkl": lambda: WHOLE.replace(b"data.pkl", b"date.pkl"),
    "two data.pkl": lambda: zipped(GOOD, **{"more/data.pkl": b"N."}),
    "a folder above": lambda: zipped(GOOD, folder="../../x/"),
    "an absolute folder": lambda: zipped(GOOD, folder="/x/"),
    "TorchScript": lambda: zipped(GOOD, **{"constants.pkl": b"N."}),
    "a byte order that does not exist": lambda: zipped(GOOD, byteorder=b"middle"),
    "a byte order of 60 MB": lambda: zipped(GOOD, compression=zipfile.ZIP_DEFLATED, byteorder=BIG),
    "a version of 60 MB": lambda: zipped(GOOD, compression=zipfile.ZIP_DEFLATED, version=BIG),
    "a data.pkl of 60 MB": lambda: zipped(b"N" + BIG, compression=zipfile.ZIP_DEFLATED),
    "a storage of 60 MB": lambda: zipped(GOOD, {"0": BIG}, compression=zipfile.ZIP_DEFLATED),
    "an encrypted member": lambda: patched(WHOLE, CENTRAL + 8, 1),
    "a link": lambda: link(WHOLE),
    "a wrong checksum of data.pkl": lambda: patched(WHOLE, CENTRAL + 16, 1, 2, 3, 4),
    "a wrong checksum of a storage": lambda: patched(WHOLE, WHOLE.rindex(b"PK\x01\x02") + 16, 1, 2, 3, 4),
    "a broken deflate stream": lambda: patched(PACKED, 30 + len("archive/data.pkl") + 9, *b"\xff" * 20),
    "a member with a wrong size": lambda: patched(WHOLE, CENTRAL + 24, 1),
    "a local header that is not there": lambda: patched(WHOLE, WHOLE.rindex(b"PK\x01\x02") + 42, 9, 9),
    "a shorter storage": lambda: zipped(GOOD, {"0": bytes(20)}),
    "a longer storage": lambda: zipped(GOOD, {"0": bytes(28)}),
    "no storage": lambda: zipped(GOOD, {}),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_hostile_archives_are_refused_with_little_memory(tmp_path, kind):
    path = tmp_path / "evil.pth"
    path.write_bytes(ARCHIVES[kind]())
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=r"evil\.pth is refused: "):
            weights.load(path)
        assert tracemalloc.get_traced_memory()[1] < 40e6
    finally:
        tracemalloc.stop()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_twice_is_refused(tmp_path):
    (tmp_path / "w.pth").write_bytes(WHOLE)
    with zipfile.ZipFile(tmp_path / "w.pth", "a") as archive:
        archive.writestr("archive/data/0", bytes(24))
    with pytest.raises(WeightsError, match="two members are called 'archive/data/0'"):
        weights.load(tmp_path / "w.pth")


@pytest.mark.parametrize(
    "data",
    [
        legacy(GOOD, keys=["1"]),
        legacy(GOOD, keys=["0", "0"]),
        legacy(GOOD, {}),
        legacy(GOOD, {"0": bytes(20)}),
        legacy(GOOD)[:-1],
        legacy(dict_of(w=tensor(storage("0", 2**40)))).replace(b"\x06" + bytes(7), (2**40).to_bytes(8, "little")),
        legacy(dict_of(w=tensor(), v=tensor(storage("0", 6, "LongStorage")))),
        b"\x80\x02" + number(1) + b".",
        b"\x80",
        b"\x80\x02" + b"N" * 40,
    ],
)
def test_damage_to_the_older_layout_is_refused(tmp_path, data):
    with pytest.raises(WeightsError, match=r"w\.pth is refused: "):
        load(tmp_path, data)


def test_compressed_members_are_read(tmp_path):
    np.testing.assert_array_equal(load(tmp_path, PACKED)["w"], VALUES)
