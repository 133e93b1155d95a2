"""Folders of images: classes, sizes, channels, and what is said of broken files."""

import re

import numpy as np
import pytest

from tinycnn.data.folder import load_folder, read_image
from tinycnn.errors import DataError

Image = pytest.importorskip("PIL.Image")


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def flat(colour, height=6, width=9):
    return np.full((height, width, 3), colour, np.uint8)


def raises(message):
    return pytest.raises(DataError, match=f"^{re.escape(message)}$")


def test_classes_are_sorted_folders(tmp_path):
    base = tmp_path / "train"
    save(base / "zebra" / "a.png", flat((10, 20, 30)))
    save(base / "ant" / "b.PNG", flat((40, 50, 60)))
    save(base / "ant" / "a.bmp", flat((70, 80, 90), 9, 6))
    (base / "ant" / "notes.txt").write_text("no image")
    (base / ".hidden").mkdir()
    images, labels, classes = load_folder(tmp_path, "train", 4, 3)
    assert (images.shape, images.dtype, labels.dtype) == ((3, 3, 4, 4), np.uint8, np.int64)
    assert (classes, labels.tolist()) == (("ant", "zebra"), [0, 0, 1])
    assert images[:, :, 0, 0].tolist() == [[70, 80, 90], [40, 50, 60], [10, 20, 30]]


def test_a_folder_without_splits_is_divided_class_by_class(tmp_path):
    for name, values in (("ant", range(1, 8)), ("zebra", (101, 102))):
        for value in values:
            save(tmp_path / name / f"{value}.png", flat((value,) * 3))
    train, labels, classes = load_folder(tmp_path, "train", 2, 1)
    test, test_labels, _ = load_folder(tmp_path, "test", 2, 1)
    assert classes == ("ant", "zebra")
    assert (test.max((1, 2, 3)).tolist(), test_labels.tolist()) == ([5, 102], [0, 1])
    assert (train.max((1, 2, 3)).tolist(), labels.tolist()) == ([1, 2, 3, 4, 6, 7, 101], [0] * 6 + [1])


def test_a_class_of_one_image_cannot_be_divided_golden(tmp_path):
    save(tmp_path / "ant" / "a.png", flat((1, 1, 1)))
    with raises(f"{tmp_path}: class ant has 1 image, expected at least 2: one to train on, one to test on"):
        load_folder(tmp_path, "train", 4, 3)


@pytest.mark.parametrize("turned", [False, True])
def test_centre_is_cut_out_without_stretching(tmp_path, turned):
    pixels = np.zeros((4, 12, 3), np.uint8)
    pixels[:, 4:8] = 255  # the middle third
    save(tmp_path / "a.png", pixels.transpose(1, 0, 2) if turned else pixels)
    assert (read_image(tmp_path / "a.png", 4, 3) == 255).all()


def test_shorter_side_is_resized(tmp_path):
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, 8:] = 200
    save(tmp_path / "a.png", pixels)
    image = read_image(tmp_path / "a.png", 4, 1)
    assert image.shape == (1, 4, 4)
    assert (image[0, :, 0] < 60).all() and (image[0, :, 3] > 140).all()
    assert read_image(tmp_path / "a.png", 17, 3).shape == (3, 17, 17)  # enlarged


def test_grey_and_colour(tmp_path):
    save(tmp_path / "a.png", np.full((5, 7), 77))
    assert (read_image(tmp_path / "a.png", 5, 3) == 77).all()
    save(tmp_path / "b.png", flat((255, 0, 0)))
    assert read_image(tmp_path / "b.png", 3, 1)[0, 0, 0] == 76  # 0.299 of 255


def test_rotation_of_phones_is_applied(tmp_path):
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 255  # stored with white above; the tag says: turn a quarter clockwise, white to the right
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    image = read_image(tmp_path / "a.png", 8, 1)[0]
    assert (image[:, 4:] == 255).all() and (image[:, :4] == 0).all()


def test_splits(tmp_path):
    for split, value in (("train", 1), ("val", 2)):
        save(tmp_path / split / "c" / "a.png", flat((value,) * 3))
    assert load_folder(tmp_path, "train", 2, 3)[0].max() == 1
    assert load_folder(tmp_path, "test", 2, 3)[0].max() == 2
    save(tmp_path / "test" / "c" / "a.png", flat((3, 3, 3)))
    assert load_folder(tmp_path, "test", 2, 3)[0].max() == 3


def test_missing_split_is_no_class(tmp_path):
    save(tmp_path / "train" / "c" / "a.png", flat((1, 1, 1)))
    with raises(f"{tmp_path}: has no folder 'test', found train"):
        load_folder(tmp_path, "test", 2, 3)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (b"", "not an image, or damaged; expected a file such as .png or .jpg"),
        (b"not a png", "not an image, or damaged; expected a file such as .png or .jpg"),
        ("truncated", "cannot be read as an image ("),
    ],
)
def test_broken_image_is_named(tmp_path, damage, message):
    path = tmp_path / "train" / "c" / "broken.png"
    save(path, np.random.default_rng(0).integers(0, 256, (40, 50, 3)))
    path.write_bytes(path.read_bytes()[:2000] if damage == "truncated" else damage)
    with pytest.raises(DataError, match=re.escape(f"{path}: {message}")):
        load_folder(tmp_path, "train", 4, 3)


def test_nothing_there_golden(tmp_path):
    missing = tmp_path / "nowhere"
    with raises(f"{missing}: no such folder, expected one with a subfolder of images per class"):
        load_folder(missing, "train", 4, 3)
    with raises(f"{tmp_path}: no class folders, expected {tmp_path / 'CLASS' / 'image.png'}"):
        load_folder(tmp_path, "train", 4, 3)
    with raises(f"{tmp_path / 'a.png'}: there is no such file, expected an image"):
        read_image(tmp_path / "a.png", 4, 3)
    with raises(f"{tmp_path}: a folder, expected an image"):
        read_image(tmp_path, 4, 3)


def test_empty_class_golden(tmp_path):
    save(tmp_path / "a" / "a.png", flat((1, 1, 1)))
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'b'}: class without images, expected files .png,")):
        load_folder(tmp_path, "train", 4, 3)


def test_bad_arguments(tmp_path):
    with raises("load_folder: channels is 2, expected 1 or 3"):
        load_folder(tmp_path, "train", 4, 2)
    with raises("load_folder: size is 0, expected 1 or more"):
        load_folder(tmp_path, "train", 0, 3)
    with raises(f"{tmp_path}: split is 'dev', expected one of train, test, val"):
        load_folder(tmp_path, "dev", 4, 3)
