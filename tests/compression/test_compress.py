"""Compression of a trained model into a file: the requested size, the claimed accuracy, and refusals."""

import json

import numpy as np
import pytest

import tinycnn as tc
from tinycnn.cli import main
from tinycnn.compression import container, pipeline, prune
from tinycnn.data import DataLoader
from tinycnn.kernels.versions import version_of

TINY = ["--model", "lenet5", "--width", "0.25", "--image-size", "16", "--limit", "300", "--epochs", "4", "--lr", "0.02"]


def run(*arguments):
    return main([str(a) for a in arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a folder of runs with one run in it."""
    runs = tmp_path_factory.mktemp("runs")
    assert run("train", *TINY, "--quiet", "--out", runs, "--name", "tiny") == 0
    return runs


def test_the_command_reaches_its_target_and_tells_the_truth(trained, capsys):
    assert run("compress", "tiny", "--out", trained, "--target", 20, "--epochs", 2, "--quiet") == 0
    out, folder = capsys.readouterr().out, trained / "tiny" / "compressed"
    assert {path.name for path in folder.iterdir()} == {"model.tcz", "result.json", "trade_off.png"}
    result = json.loads((folder / "result.json").read_text())
    sizes = [stage["bytes"] for stage in result["stages"]]
    assert [stage["name"] for stage in result["stages"]] == ["trained", "pruned", "shared", "Huffman coded"]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] >= 20 * sizes[-1]
    assert sizes[-1] == (folder / "model.tcz").stat().st_size
    for stage in result["stages"]:
        assert f"{stage['bytes']:,}" in out and f"{100 * stage['accuracy']:.2f} %" in out
    assert "pruning: " in out and "sharing: 5 bits a weight, by k-means" in out
    assert f"1/{sizes[0] / sizes[-1]:.1f} of lenet5; read back, every bit is the same" in out

    assert run("evaluate", trained / "tiny", "--weights", folder / "model.tcz", "--limit", 300, "--quiet") == 0
    assert f"accuracy {100 * result['stages'][-1]['accuracy']:.2f} %" in capsys.readouterr().out


def test_against_another_network_and_linear_and_by_layer(trained, capsys):
    options = ["--against", "alexnet_2012", "--linear", "--scope", "layer", "--bits", 6, "--epochs", 1, "--quiet"]
    assert run("compress", "--out", trained, "--target", 510, *options) == 0
    out = capsys.readouterr().out
    bytes_of_it = 4 * sum(
        p.size for p in tc.models.alexnet_2012(num_classes=10, in_channels=1, width=0.25, small_input=True).parameters()
    )
    assert f"target: {bytes_of_it // 510:,} bytes, 1/510 of alexnet_2012 with {bytes_of_it:,}" in out
    assert "6 bits a weight, at equal distances" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny", "--target", "1e9"], "are left where nearly all weights are pruned: biases, names and sizes"),
        (["tiny", "--target", "1"], "--target is 1, expected above 1"),
        (["tiny", "--target", "nan"], "--target is nan, expected above 1"),
        (["tiny", "--epochs", "0"], "--epochs is 0, expected at least 1"),
        (["tiny", "--lr", "inf"], "--lr is inf, expected above 0"),
        (["tiny", "--against", "alexnet_2013"], "unknown model 'alexnet_2013'; did you mean alexnet_2012"),
        (["tony"], "did you mean tiny?"),
    ],
)
def test_errors_are_one_line_and_leave_no_folder(trained, capsys, arguments, message):
    before = sorted((trained / "tiny").iterdir())
    assert run("compress", *arguments, "--out", trained, "--quiet") == 1
    err = capsys.readouterr().err
    assert err.startswith("tinycnn: error: ") and message in err and "Traceback" not in err
    assert sorted((trained / "tiny").iterdir()) == before


def test_ctrl_c_leaves_no_folder(trained, capsys, monkeypatch):
    def interrupted(self):
        self.interrupted = True

    before = sorted((trained / "tiny").iterdir())
    monkeypatch.setattr("tinycnn.training.Trainer.fit", interrupted)
    assert run("compress", "tiny", "--out", trained, "--quiet") == 130
    assert sorted((trained / "tiny").iterdir()) == before


def test_damaged_weights_are_named(trained, capsys):
    (trained / "bad.tcz").write_bytes(b"\x89TCZ\r\n")
    assert run("evaluate", trained / "tiny", "--weights", trained / "bad.tcz", "--quiet") == 1
    assert "bad.tcz: not a .tcz file, or truncated" in capsys.readouterr().err


def test_a_target_that_needs_no_pruning_prunes_nothing(tmp_path):
    tc.manual_seed(0)
    data = tc.data.Glyphs(size=8, count=100)
    data.transform = tc.data.transforms.Normalize.of(data.images)
    model = tc.nn.Sequential(tc.nn.Flatten(), tc.nn.Linear(64, 100), tc.nn.ReLU(), tc.nn.Linear(100, 10))
    loader, plan = DataLoader(data, 20), pipeline.Plan(target=10_000, fine_tuning=1)
    result = pipeline.compress(model, loader, DataLoader(data, 100), tmp_path / "m.tcz", plan, lambda _: 0, quiet=True)
    assert prune.density(model) == 1 and result.retrained == []
    assert (tmp_path / "m.tcz").stat().st_size <= 10_000
    assert all(len(np.unique(weight.data)) <= 32 for weight in prune.weights_of(model).values())
    back = container.load(tmp_path / "m.tcz")
    assert all(back[name].tobytes() == array.tobytes() for name, array in model.state_dict().items())


def test_half_precision_is_taken_where_it_is_near_enough_for_the_array():
    layer = tc.nn.Linear(1, 3)
    layer.weight.data[...] = [[0.5], [1e-7], [-0.3]]
    layer.bias.data[...] = [1e-7, 2e-7, -3e-7]
    before = version_of(layer.weight.data)
    pipeline._Trial(layer, None, None).halve()
    assert version_of(layer.weight.data) > before
    np.testing.assert_array_equal(layer.weight.data, layer.weight.data.astype(np.float16))
    np.testing.assert_allclose(layer.weight.data[:, 0], [0.5, 1e-7, -0.3], atol=5e-4)
    np.testing.assert_array_equal(layer.bias.data, np.float32([1e-7, 2e-7, -3e-7]))


def test_the_formula_takes_the_kept_weights_of_all_layers_together():
    model = tc.nn.Sequential(tc.nn.Linear(4, 3), tc.nn.Linear(3, 2))
    model[0].weight.data[...] = [[0, 1, 2, 1], [2, 1, 1, 1], [2, 2, 0, 0]]  # 9 kept, 2 values
    model[1].weight.data[...] = [[3, 4, 5], [3, 4, 3]]  # 6 kept, 3 values
    bits = 9 * 1 + 2 * 32 + 6 * 2 + 3 * 32  # Han et al. 2016, equation 1: an index of ceil(log2 k) bits, a table of k
    assert pipeline._formula(model) == pytest.approx((9 + 6) * 32 / bits)
