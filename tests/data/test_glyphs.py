"""The embedded data set: deterministic, honest in its split, and true to its own annotations."""

import numpy as np
import pytest

from tinycnn.data import Glyphs
from tinycnn.data.glyphs import TEST_FAMILIES
from tinycnn.errors import DataError


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (28, 1), (32, 3), (224, 3)])
def test_shapes_bytes_and_classes(size, channels):
    data = Glyphs("train", size, channels, count=12)
    assert data.images.shape == (12, channels, size, size) and data.images.dtype == np.uint8
    assert data.labels.tolist() == [*range(10), 0, 1] and data.classes == tuple("0123456789")


def test_same_arguments_give_the_same_images_and_another_seed_others():
    first, again, other = (Glyphs(size=16, count=30, seed=seed).images for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_test_fonts_are_never_seen_in_training():
    train, test = (set(Glyphs(split, 16, count=600).fonts) for split in ("train", "test"))
    assert train and test and not train & test
    prefixes = tuple(family.removesuffix("General") for family in TEST_FAMILIES)
    assert all(font.startswith(prefixes) for font in test)


def test_letters_have_26_classes():
    assert len(Glyphs(size=16, symbols="letters", count=26).classes) == 26


def test_a_clean_glyph_lies_in_its_box():
    data = Glyphs("test", 64, count=10, difficulty=0.0)
    for image, (left, top, right, bottom) in zip(data.images[:, 0], data.boxes):
        rows, columns = np.nonzero(image > 128)
        assert abs(columns.min() - left) < 2 and abs(columns.max() - right) < 2
        assert abs(rows.min() - top) < 2 and abs(rows.max() - bottom) < 2


def test_a_warp_maps_the_glyphs_middle_to_the_boxs():
    data = Glyphs("train", 32, count=50)
    middle = (data.boxes[:, :2] + data.boxes[:, 2:]) / 2
    np.testing.assert_allclose(middle, data.warps[:, :, 2], atol=1e-4)


def test_every_image_has_contrast():
    spread = np.ptp(Glyphs("train", 28, count=500).images.reshape(500, -1).astype(int), axis=1)
    assert spread.min() > 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 7}, "glyphs: size is 7, expected 8 to 224"),
        ({"channels": 2}, "glyphs: channels is 2, expected 1 or 3"),
        ({"split": "dev"}, "glyphs: split is 'dev', expected 'train' or 'test'"),
        ({"symbols": "runes"}, "glyphs: symbols is 'runes', expected 'digits' or 'letters'"),
        ({"count": 0}, "glyphs: count is 0, expected at least 1"),
        ({"count": 2.5}, "glyphs: count is 2.5, expected at least 1"),
        ({"count": True}, "glyphs: count is True, expected at least 1"),
        ({"count": 10**12}, "glyphs: count is 1000000000000, expected at most 10000000"),
        ({"size": 12.0}, "glyphs: size is 12.0, expected 8 to 224"),
        ({"channels": "1"}, "glyphs: channels is '1', expected 1 or 3"),
        ({"symbols": ["a"]}, "glyphs: symbols is ['a'], expected 'digits' or 'letters'"),
        ({"seed": -1}, "glyphs: seed is -1, expected at least 0"),
        ({"seed": None}, "glyphs: seed is None, expected at least 0"),
        ({"difficulty": -1}, "glyphs: difficulty is -1, expected 0 to 2"),
        ({"difficulty": None}, "glyphs: difficulty is None, expected 0 to 2"),
        ({"difficulty": float("nan")}, "glyphs: difficulty is nan, expected 0 to 2"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, message):
    with pytest.raises(DataError) as caught:
        Glyphs(**arguments)
    assert str(caught.value) == message
