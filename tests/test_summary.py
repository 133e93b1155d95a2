"""The layer table against the papers' numbers."""

import pytest

import tinycnn as tc

MULTIPLY_ADDS = {
    ("alexnet_2012", 224): 724_406_816,
    ("vgg16", 224): 15_470_264_320,
    ("resnet50", 224): 4_089_184_256,
    ("resnet20", 32): 40_551_040,
}


@pytest.mark.parametrize(("name", "size"), MULTIPLY_ADDS)
def test_multiply_adds_are_the_papers(name, size):
    table = tc.summary(tc.models.build(name), (3, size, size))
    assert table.multiply_adds == MULTIPLY_ADDS[name, size]


def test_resnet50_with_the_papers_stride_takes_3858_million():
    table = tc.summary(tc.models.resnet50(stride_in_1x1=True))
    assert round(table.multiply_adds / 1e6) == 3858


def test_squeezenet_table_1():
    table = tc.summary(tc.models.squeezenet1_0(), (3, 224, 224))
    fires: dict[str, int] = {}
    for row in table.rows:
        stage = ".".join(row.name.split(".")[:2])
        fires[stage] = fires.get(stage, 0) + row.parameters
    counts = [n for n in fires.values() if n]
    assert counts == [14_208, 11_920, 12_432, 45_344, 49_440, 104_880, 111_024, 188_992, 197_184, 513_000]
    assert table.parameters == 1_248_424


def test_alexnets_shapes_and_receptive_fields():
    rows = [r for r in tc.summary(tc.models.alexnet_2012()).rows if r.kind in ("Conv2d", "MaxPool2d")]
    assert [row.receptive_field for row in rows] == [11, 19, 51, 67, 99, 131, 163, 195]
    shapes = [row.output_shape for row in rows]
    assert [shape[0] for shape in shapes] == [96, 96, 256, 256, 384, 384, 256, 256]
    assert [shape[1] for shape in shapes] == [55, 27, 27, 13, 13, 13, 13, 6]


@pytest.mark.parametrize(("depth", "field"), [(20, 81), (56, 249)])
def test_receptive_field_of_cifar_resnets(depth, field):
    """Through the longest path: the branches of a block meet."""
    rows = tc.summary(tc.models.build(f"resnet{depth}"), (3, 32, 32)).rows
    assert [row.receptive_field for row in rows if row.kind == "Conv2d"][-1] == field


def test_vgg16_sees_212_pixels_at_its_last_pool():
    rows = tc.summary(tc.models.vgg16(width=0.0625)).rows
    assert [row.receptive_field for row in rows if row.kind == "MaxPool2d"][-1] == 212


def test_a_summary_leaves_the_model_as_it_was():
    model = tc.models.resnet20(width=0.25)
    before = {name: array.copy() for name, array in model.state_dict().items()}
    model.bn1.eval()
    table = tc.summary(model, (3, 32, 32))
    assert model.training and not model.bn1.training
    assert all((before[name] == array).all() for name, array in model.state_dict().items())
    assert not model.conv1._forward_hooks
    assert str(table).endswith("activations for one image")
