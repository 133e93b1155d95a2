"""A watch records the network's activations and gradients, and leaves no trace in the network."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import nn
from tinycnn.lesson import fit, glyphs


def net():
    tc.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))


def images(seed=0):
    return np.random.default_rng(seed).normal(size=(5, 1, 8, 8)).astype(np.float32)


def rms(array):
    return np.sqrt(np.mean(np.square(array, dtype=np.float64)))


def test_numbers_are_those_of_the_arrays():
    model = net()
    with tc.watch(model) as record:
        maps = model[0](tc.Tensor(images()))
        record.rows.clear()
        out = model(tc.Tensor(images()))
        (out * out).sum().backward()
    conv, relu, linear = record.rows
    assert [row["layer"] for row in record.rows] == ["0#2", "1", "3"] and record.steps == 1
    assert conv["activation"] == pytest.approx(rms(maps.data), rel=1e-5)
    assert (conv["mean"], conv["std"]) == pytest.approx((maps.data.mean(), maps.data.std()), rel=1e-4)
    assert conv["zeros"] == 0 and relu["zeros"] == pytest.approx(np.mean(maps.data <= 0))
    assert linear["gradient"] == pytest.approx(rms(2 * out.data), rel=1e-5)
    assert linear["weight_gradient"] == pytest.approx(np.linalg.norm(model[3].weight.grad), rel=1e-5)
    assert conv["weight_gradient"] == pytest.approx(np.linalg.norm(model[0].weight.grad), rel=1e-5)
    assert np.isnan(relu["weight_gradient"])


def test_dead_units():
    model = net()
    model[0].bias.data[:2] = -100
    with tc.watch(model) as record:
        model(tc.Tensor(images())).sum().backward()
    assert record.table("dead", (nn.ReLU,))[2].tolist() == [[0.5]]
    model[0].bias.data[:3] = -100
    with tc.watch(model) as record:
        model(tc.Tensor(images())).sum().backward()
    assert record.table("dead", (nn.ReLU,))[2].tolist() == [[0.75]]


class Square(nn.Activation):
    def forward(self, x):
        return x * x


class Strict(nn.Linear):
    pass


def test_layers_of_a_users_own_classes_are_watched_as_their_base_classes():
    model = nn.Sequential(nn.Flatten(), Strict(64, 3), Square(), nn.Softmax())
    with tc.watch(model) as record:
        model(tc.Tensor(images())).sum().backward()
    assert [row["kind"] for row in record.rows] == ["Strict", "Square"]
    assert record.table()[1] == ["1"] and record.table("zeros", (nn.Activation,))[1] == ["2"]


def test_sizes_beyond_float32_squares():
    from tinycnn.training_record import _size

    assert _size(np.full(9, 1e25, np.float32)) == pytest.approx(1e25, rel=1e-6)
    assert _size(np.full(9, 1e-25, np.float32)) == pytest.approx(1e-25, rel=1e-6)
    assert np.isnan(_size(np.array([1, np.nan], np.float32))) and _size(np.zeros(3, np.float32)) == 0


def test_training_is_the_same_bit_for_bit_and_evaluation_is_not_recorded():
    train, test = glyphs(64, 32, size=8)
    weights = []
    for watched in (False, True):
        model = tc.models.cifar_resnet(8, 10, width=0.25, in_channels=1)
        tc.manual_seed(0)
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.2)
        record = tc.watch(model, every=2) if watched else None
        fit(model, train, test, 2, batch_size=16)
        weights.append(np.concatenate([p.data.ravel() for p in model.parameters()]))
    assert record is not None and record.steps == 8
    steps, layers, values = record.table()
    assert steps == [0, 2, 4, 6] and len(layers) == 8 and (values > 0).all()
    assert {"layer1.0.relu", "layer1.0.relu#2"} <= {row["layer"] for row in record.rows}
    np.testing.assert_array_equal(*weights)


def test_it_holds_no_graph_and_its_hooks_go():
    model = net()
    with tc.watch(model) as record:
        out = model(tc.Tensor(images()))
        node = weakref.ref(out.grad_fn)
        out.sum().backward()
        del out
        gc.collect()
        assert node() is None
    count = len(record.rows)
    model(tc.Tensor(images())).sum().backward()
    assert len(record.rows) == count
    assert not any(module._forward_hooks for module in model.modules())
    assert not any(parameter._hooks for parameter in model.parameters())


def test_the_hooks_go_when_the_loop_breaks():
    model = net()
    with pytest.raises(KeyError), tc.watch(model):
        raise KeyError
    assert not model._forward_hooks


def test_figure_and_csv(tmp_path):
    from PIL import Image

    from tinycnn import plotting

    model = net()
    with tc.watch(model) as record:
        for step in range(3):
            model(tc.Tensor(images(step))).sum().backward()
    record.save(tmp_path / "watch.csv")
    lines = (tmp_path / "watch.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("step,layer,kind,activation,mean,std,zeros,dead,gradient") and len(lines) == 10
    for quantity in ("gradient", "zeros"):
        plotting.save(record.figure(quantity), tmp_path / "flow.png")
        pixels = np.asarray(Image.open(tmp_path / "flow.png").convert("L"))
        assert 0.002 < (pixels < 200).mean() < 0.98


def test_layer_names_are_data_in_csv(tmp_path):
    import csv

    model = nn.Sequential()
    names = ['say "hi", twice', "two\nlines", "猫 $x$"]
    for name in names:
        model._modules[name] = nn.ReLU()
    with tc.watch(model) as record:
        model(tc.Tensor(images(), requires_grad=True)).sum().backward()
    record.save(tmp_path / "watch.csv")
    with (tmp_path / "watch.csv").open(encoding="utf-8", newline="") as file:
        assert [row["layer"] for row in csv.DictReader(file)] == names


def test_what_cannot_be_watched():
    with pytest.raises(ValueError, match="every is 0, expected at least 1"):
        tc.watch(net(), every=0)
    with pytest.raises(ValueError, match="Flatten has no layer to watch, expected one of Conv2d, Linear"):
        tc.watch(nn.Flatten())
    with pytest.raises(ValueError, match=r"quantity is 'norm', expected one of activation, mean"):
        tc.watch(net()).table("norm")
    with pytest.raises(ValueError, match="no step of such a layer was recorded"):
        tc.watch(net()).table()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_of_a_watched_model_is_not_watched(copied):
    model = net()
    with tc.watch(model) as record:
        model(tc.Tensor(images())).sum().backward()
        twin = copied(model)
        rows = len(record.rows)
        np.testing.assert_array_equal(twin(tc.Tensor(images())).data, model(tc.Tensor(images())).data)
        assert (len(record.rows), record.steps) == (2 * rows, 2)
        with tc.watch(twin) as other:
            twin(tc.Tensor(images())).sum().backward()
        assert len(other.rows) == rows and record.steps == 2


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda record: pickle.loads(pickle.dumps(record))])
def test_a_copy_of_a_record_keeps_its_rows_and_watches_nothing(copied):
    model = net()
    record = tc.watch(model)
    model(tc.Tensor(images())).sum().backward()
    twin = copied(record)
    assert [row["gradient"] for row in twin.rows] == [row["gradient"] for row in record.rows]
    twin.remove()
    model(tc.Tensor(images()))
    assert (twin.steps, record.steps) == (1, 2)
