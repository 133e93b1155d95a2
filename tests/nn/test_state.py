"""load_state_dict: accepted states, refused states, and that a refusal changes nothing."""

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import nn
from tinycnn.errors import WeightsError


def make():
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm2d(2))


def state_of(net, change=0):
    return {name: array + np.asarray(change, array.dtype) for name, array in net.state_dict().items()}


class Torch:
    """A tensor of PyTorch as load_state_dict sees it: ``numpy()`` needs ``detach()`` first, and has no bfloat16."""

    def __init__(self, array, requires_grad=True, bfloat16=False):
        self.array, self.requires_grad, self.bfloat16 = array, requires_grad, bfloat16
        self.shape = array.shape

    def detach(self):
        return Torch(self.array, False, self.bfloat16)

    def cpu(self):
        return self

    def float(self):
        return Torch(self.array, self.requires_grad)

    def numpy(self):
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        if self.bfloat16:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.array

    __array__ = None


TAKEN = {
    "array": np.array([5, 6], np.float32),
    "float64": np.array([5.0, 6.0]),
    "float16": np.array([5, 6], np.float16),
    "swapped bytes": np.array([5, 6], ">f4"),
    "integers": np.array([5, 6]),
    "list": [5.0, 6.0],
    "strided": np.array([5, 0, 6, 0], np.float32)[::2],
    "our tensor": tc.Tensor([5.0, 6.0], requires_grad=True),
    "our parameter": nn.Parameter(np.array([5, 6], np.float32)),
    "torch": Torch(np.array([5, 6], np.float32), requires_grad=False),
    "torch that requires gradients": Torch(np.array([5, 6], np.float32)),
    "torch bfloat16": Torch(np.array([5, 6], np.float32), bfloat16=True),
}


@pytest.mark.parametrize("case", TAKEN)
def test_arrays_and_tensors_are_taken(case):
    net = make()
    assert net.load_state_dict({**state_of(net), "0.bias": TAKEN[case]}) == ([], [])
    assert net[0].bias.data.tolist() == [5, 6] and net[0].bias.dtype == np.float32


REFUSED = {
    "None": (None, "0.bias is a NoneType of dtype object, expected real numbers"),
    "text": ("ab", "0.bias is a str of dtype <U2"),
    "array of text": (np.array(["a", "b"]), "0.bias is a ndarray of dtype <U1"),
    "bytes": (np.array([b"a", b"b"]), r"0.bias is a ndarray of dtype \|S1"),
    "objects": (np.array([None, None]), "0.bias is a ndarray of dtype object"),
    "complex": (np.ones(2, complex), "0.bias is a ndarray of dtype complex128"),
    "dates": (np.zeros(2, "M8[s]"), "0.bias is a ndarray of dtype datetime64"),
    "records": (np.zeros(2, [("a", "f4")]), "0.bias is a ndarray of dtype"),
    "ragged": ([[1.0], [1.0, 2.0]], "0.bias is a list without numbers"),
    "dict": ({"a": 1}, "0.bias is a dict of dtype object"),
    "masked": (np.ma.masked_array([1.0, 2.0], [True, False]), "0.bias is an array with masked elements"),
    "too large": (np.array([1e300, 0.0]), "0.bias has values beyond float32"),
    "mis-shaped": (np.zeros(3), r"mis-shaped: 0.bias has shape \(3,\), expected \(2,\)"),
    "transposed": (np.zeros((2, 1)), r"0.bias has shape \(2, 1\), expected \(2,\)"),
    "broadcast": (np.float32(0), r"0.bias has shape \(\), expected \(2,\)"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("case", REFUSED)
def test_other_values_are_refused_and_nothing_is_changed(case, strict):
    value, message = REFUSED[case]
    net = make()
    before = state_of(net)
    with pytest.raises(WeightsError, match=message):
        net.load_state_dict({**state_of(net, 1), "0.bias": value}, strict=strict)
    assert all(np.array_equal(array, before[name]) for name, array in net.state_dict().items())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "has values that are not whole numbers, expected int64"),
        (np.inf, "has values that are not whole numbers, expected int64"),
        (2.5, "has values that are not whole numbers, expected int64"),
        (1e300, r"has values from 1e\+300 to 1e\+300, expected int64"),
        (np.uint64(2**63), "has values from 9223372036854775808 to"),
    ],
)
def test_values_out_of_an_integer_buffers_range_are_refused(value, message):
    net = make()
    with pytest.raises(WeightsError, match=f"refused: 1.num_batches_tracked {message}"):
        net.load_state_dict({**state_of(net, 1), "1.num_batches_tracked": value})
    assert not net[1].bias.data.any() and net[1].num_batches_tracked == 0


@pytest.mark.parametrize("value", [7, 7.0, np.int32(7), np.array([7]), True * 7])
def test_counters_take_whole_numbers(value):
    net = make()
    net.load_state_dict({**state_of(net), "1.num_batches_tracked": value})
    assert net[1].num_batches_tracked == 7 and net[1].num_batches_tracked.dtype == np.int64


def test_masks_of_bools_take_zeros_and_ones():
    layer = nn.Module()
    layer.register_buffer("mask", np.zeros(2, bool))
    layer.load_state_dict({"mask": np.array([1.0, 0.0])})
    assert layer.mask.tolist() == [True, False]
    with pytest.raises(WeightsError, match="mask has values from 0 to 2, expected bool"):
        layer.load_state_dict({"mask": np.array([0, 2])})


@pytest.mark.parametrize("state", [None, "text", 3, np.zeros(2), tc.Tensor([1.0]), ["0.bias"], [("a", 1, 2)], {3: 1}])
def test_what_is_no_state_is_a_type_error(state):
    with pytest.raises(TypeError, match="load_state_dict: the state "):
        make().load_state_dict(state)


def test_a_module_is_no_state():
    with pytest.raises(TypeError, match=r"the state is a Sequential, expected its .state_dict\(\)"):
        make().load_state_dict(make())


def test_named_parameters_are_a_state():
    net, other = nn.Linear(3, 2), nn.Linear(3, 2)
    net.load_state_dict(dict(other.named_parameters()))
    assert np.array_equal(net.weight.data, other.weight.data) and net.weight.data is not other.weight.data
    third = nn.Linear(3, 2)
    third.load_state_dict(other.named_parameters())
    assert np.array_equal(third.bias.data, other.bias.data)
    with pytest.raises(WeightsError, match="a name twice"):
        net.load_state_dict([*other.named_parameters(), *other.named_parameters()])


def test_missing_and_unexpected_names_are_returned():
    net = make()
    state = state_of(net, 1)
    del state["0.weight"], state["1.num_batches_tracked"]
    state["head.weight"] = None
    result = net.load_state_dict(state, strict=False)
    assert result.missing_keys == ["0.weight"] and result.unexpected_keys == ["head.weight"]
    assert net.load_state_dict(state_of(net)) == ([], [])
    missing, unexpected = net.load_state_dict({}, strict=False)
    assert len(missing) == 6 and unexpected == []


def test_a_state_without_num_batches_tracked_is_taken():
    net = make()
    state = state_of(net, 1)
    del state["1.num_batches_tracked"]
    assert net.load_state_dict(state) == ([], [])
    assert net[1].num_batches_tracked == 0 and (net[1].bias.data == 1).all()
    del state["1.running_mean"]
    with pytest.raises(WeightsError, match=r"missing: 1.running_mean$"):
        net.load_state_dict(state)


@pytest.mark.parametrize("strict", [True, False])
def test_other_shapes_are_skipped_when_asked_only(strict):
    net = make()
    state = {**state_of(net, 1), "0.weight": np.ones((10, 3))}
    with pytest.raises(WeightsError, match=r"mis-shaped: 0.weight has shape \(10, 3\), expected \(2, 3\)"):
        net.load_state_dict(state, strict=strict)
    before = net[0].weight.data.copy()
    assert net.load_state_dict(state, strict=strict, skip_mismatched=True) == (["0.weight"], [])
    assert np.array_equal(net[0].weight.data, before) and (net[1].bias.data == 1).all()


def test_load_returns_what_load_state_dict_does(tmp_path):
    net = make()
    nn.Linear(3, 2).save(tmp_path / "part.safetensors")
    result = net[0].load(tmp_path / "part.safetensors")
    assert result == ([], [])
    missing, unexpected = net.load(tmp_path / "part.safetensors", strict=False)
    assert "0.weight" in missing and sorted(unexpected) == ["bias", "weight"]
    nn.Linear(3, 5).save(tmp_path / "wide.safetensors")
    assert net[0].load(tmp_path / "wide.safetensors", skip_mismatched=True).missing_keys == ["weight", "bias"]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_the_prefix_of_a_wrapper_is_dropped(prefix, strict):
    net = make()
    assert net.load_state_dict({prefix + name: v for name, v in state_of(net, 1).items()}, strict) == ([], [])
    assert (net[1].bias.data == 1).all()


def test_other_prefixes_are_named():
    net, inner = make(), make()[0]
    with pytest.raises(WeightsError, match=r"hint: each name starts with the prefix 'model.'; without it 7 names fit"):
        net.load_state_dict({f"model.{name}": v for name, v in state_of(net).items()})
    with pytest.raises(WeightsError, match="hint: 2 names fit inside '0': load the state into that part"):
        net.load_state_dict(inner.state_dict())
    with pytest.raises(WeightsError) as caught:
        net.load_state_dict({"a": np.ones(1)})
    assert "hint" not in str(caught.value)


class Tied(nn.Module):
    """One layer under two names, and one parameter in two layers."""

    def __init__(self):
        super().__init__()
        self.a, self.c = nn.Linear(2, 2), nn.Linear(2, 2)
        self.b = self.a
        self.c.weight = self.a.weight


NAMES = ["a.weight", "a.bias", "c.weight", "c.bias", "b.weight", "b.bias"]


def test_shared_arrays_are_listed_under_each_name_and_loaded_from_any(tmp_path):
    net = Tied()
    assert list(net.state_dict()) == NAMES
    assert [name for name, _ in net.named_parameters()] == ["a.weight", "a.bias", "c.bias"]
    net.save(tmp_path / "tied.safetensors")
    other = Tied()
    assert other.load(tmp_path / "tied.safetensors") == ([], [])
    assert np.array_equal(other.a.weight.data, net.a.weight.data) and other.c.weight is other.a.weight
    once = {"b.weight": np.full((2, 2), 3.0), "a.bias": np.zeros(2), "c.bias": np.zeros(2)}
    assert other.load_state_dict(once) == ([], [])
    assert (other.a.weight.data == 3).all()
    other.load_state_dict(dict(net.named_parameters()))


def test_shared_arrays_that_differ_in_the_state_are_refused():
    net = Tied()
    state = {name: array.copy() for name, array in net.state_dict().items()}
    state["b.bias"] = state["b.bias"] + 1
    before = net.a.bias.data.copy()
    with pytest.raises(WeightsError, match=r"a.bias and b.bias are one array here, but differ in the state"):
        net.load_state_dict(state, strict=False)
    assert np.array_equal(net.a.bias.data, before)
    nan = {name: np.full_like(array, np.nan) for name, array in net.state_dict().items()}
    assert net.load_state_dict(nan) == ([], [])


def test_arrays_of_the_module_itself_may_be_exchanged():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    first, second = net[0].weight.data.copy(), net[1].weight.data.copy()
    own = net.state_dict()
    net.load_state_dict({**own, "0.weight": own["1.weight"], "1.weight": own["0.weight"]})
    assert np.array_equal(net[0].weight.data, second) and np.array_equal(net[1].weight.data, first)
    net.load_state_dict({**own, "0.weight": own["0.weight"].T})
    assert np.array_equal(net[0].weight.data, second.T)


def test_parameters_that_cannot_be_written_are_refused():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    before = net[0].weight.data.copy()
    try:
        net[1].bias.data = np.broadcast_to(np.float32(0), (2,))
    except (TypeError, ValueError):
        return  # refused even earlier
    with pytest.raises(WeightsError, match=r"refused: 1.bias cannot be written"):
        net.load_state_dict({name: array + 1 for name, array in net.state_dict().items()})
    assert np.array_equal(net[0].weight.data, before)


def test_lazily_negated_and_conjugated_tensors_are_resolved():
    class Lazy(Torch):
        """As PyTorch's ``conj().imag``: it has no NumPy array before it is resolved."""

        def resolve_neg(self):
            return Torch(self.array)

        def numpy(self):
            raise RuntimeError("Can't call numpy() on Tensor that has negative bit set.")

    net = nn.Linear(2, 1, bias=False)
    net.load_state_dict({"weight": Lazy(np.array([[3.0, -4.0]], np.float32))})
    assert net.weight.data.tolist() == [[3, -4]]
