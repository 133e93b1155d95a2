"""Folders of images: classes, sizes, channels, and the errors for broken files."""

import os
import re
import sys
import unicodedata
import warnings

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


def test_hidden_files_and_folders_are_skipped(tmp_path, caplog):
    for name in ("cat", "dog"):
        save(tmp_path / name / "1.png", flat((9, 9, 9)))
        save(tmp_path / name / "2.png", flat((9, 9, 9)))
    for place in (".ipynb_checkpoints", "cat/.thumbs", "cat/.ipynb_checkpoints/deep", "cat/@eaDir", "__MACOSX/cat"):
        save(tmp_path / place / "3.png", flat((1, 1, 1)))
    save(tmp_path / "cat" / "._1.png", flat((1, 1, 1)))
    (tmp_path / "cat" / ".DS_Store").write_bytes(b"")
    (tmp_path / "Thumbs.db").write_bytes(b"")
    images, labels, classes = load_folder(tmp_path, "train", 2, 1)
    assert (classes, labels.tolist(), images.min()) == (("cat", "dog"), [0, 1], 9)
    assert not caplog.records


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes are of Unix")
def test_what_only_looks_like_an_image_is_reported_and_stops_nothing(tmp_path, caplog):
    for name in ("a", "b"):
        for number in range(2):
            save(tmp_path / name / f"{number}.png", flat((9, 9, 9)))
    save(tmp_path / "a" / "folder.png" / "inside.png", flat((9, 9, 9)))
    os.mkfifo(tmp_path / "a" / "pipe.JPG")
    (tmp_path / "b" / "broken.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "b" / "phone.HEIC").write_bytes(b"x")
    (tmp_path / "c").symlink_to(tmp_path / "gone")  # would have been a class
    (tmp_path / "a" / "notes.txt").write_text("x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels = load_folder(tmp_path, "train", 2, 1)[1]
    assert labels.tolist() == [0, 0, 1]
    (message,) = caplog.messages
    assert message == (
        f"{tmp_path}: 5 entries are not images that can be read: c (a link that leads nowhere), "
        "a/folder.png (a folder), a/pipe.JPG (a pipe) and 2 more"
    )
    for name in ("a/pipe.JPG", "c", "b/phone.HEIC"):
        (tmp_path / name).unlink()
    load_folder(tmp_path, "train", 2, 1)
    assert caplog.messages[1].endswith("2 entries are not images that can be read: a/folder.png (a folder), "
                                       "b/broken.png (a link that leads nowhere)")  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_loops_of_links_end_and_no_folder_is_read_twice(tmp_path, caplog):
    for name in ("a", "b"):
        for number in range(2):
            save(tmp_path / name / "deep" / f"{number}.png", flat((ord(name),) * 3))
    (tmp_path / "a" / "up").symlink_to(tmp_path)  # holds the images of b
    (tmp_path / "a" / "deep" / "self").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "zz").symlink_to(tmp_path / "a" / "deep")
    (tmp_path / "elsewhere").mkdir()
    root = tmp_path / "elsewhere" / "root"
    root.mkdir()
    for name in ("a", "b"):
        (root / name).symlink_to(tmp_path / name)  # classes may be links
    for folder in (root,):
        images, labels, classes = load_folder(folder, "train", 2, 1)
        assert (images[:, 0, 0, 0].tolist(), labels.tolist(), classes) == ([97, 98], [0, 1], ("a", "b"))
    assert "3 entries are not images that can be read: a/deep/self (a link to a folder that is read" in caplog.text


def test_a_class_may_be_called_train_or_test(tmp_path, caplog):
    for name in ("bus", "car", "train"):
        for number in range(6):
            save(tmp_path / name / f"{number}.png", flat((9, 9, 9)))
    assert load_folder(tmp_path, "train", 2, 1)[2] == ("bus", "car", "train")
    assert not caplog.records
    for number in range(6):
        save(tmp_path / "test" / f"{number}.png", flat((9, 9, 9)))
    assert load_folder(tmp_path, "train", 2, 1)[2] == ("bus", "car", "test", "train")
    assert "every folder is taken for a class, also test, train." in caplog.text and "0.png is an image" in caplog.text


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Validation"])
def test_validation_serves_for_testing_and_a_message_says_so(tmp_path, caplog, name):
    for split, value in (("train", 1), (name, 2)):
        for label in "ab":
            save(tmp_path / split / label / "1.png", flat((value,) * 3))
    (tmp_path / "train" / "readme.txt").write_text("x")
    (tmp_path / "train" / ".DS_Store").write_bytes(b"x")
    assert load_folder(tmp_path, "train", 2, 1)[0].max() == 1
    assert load_folder(tmp_path, "val", 2, 1)[0].max() == 2
    assert not caplog.records
    assert load_folder(tmp_path, "test", 2, 1)[0].max() == 2
    assert caplog.messages == [f"{tmp_path}: has no folder test, so {name} is used for testing"]
    for label in "ab":
        save(tmp_path / "test" / label / "1.png", flat((3, 3, 3)))
    assert load_folder(tmp_path, "test", 2, 1)[0].max() == 3
    assert load_folder(tmp_path, "val", 2, 1)[0].max() == 2 and len(caplog.messages) == 1


def test_two_folders_of_validation_images_are_refused(tmp_path):
    for split in ("train", "val", "valid"):
        save(tmp_path / split / "a" / "1.png", flat((1, 1, 1)))
    with raises(f"{tmp_path}: has val and valid, expected one folder of validation images"):
        load_folder(tmp_path, "test", 2, 1)


@pytest.mark.parametrize("others", [["test"], ["val", "Test"], []])
def test_two_folders_of_a_split_whose_names_differ_in_case_are_refused(tmp_path, others):
    for split in ("train", "Train", *others):
        save(tmp_path / split / "cat" / "0.png", flat(9))
    if len(list(tmp_path.iterdir())) == len(others) + 1:
        pytest.skip("this file system does not distinguish case")
    for split in ("train", "test"):
        with raises(f"{tmp_path}: has Train and train, expected one folder of train images"):
            load_folder(tmp_path, split, 4, 3)


def test_classes_whose_names_differ_in_case_are_two(tmp_path):
    for name in ("Train", "train", "Test"):
        save(tmp_path / name / "0.png", flat(9))
        save(tmp_path / name / "1.png", flat(9))
    if len(list(tmp_path.iterdir())) == 3:
        assert load_folder(tmp_path, "train", 4, 3)[2] == ("Test", "Train", "train")


def test_classes_called_test_and_val_without_train_are_classes(tmp_path):
    for name in ("test", "val", "cat"):
        for number in range(2):
            save(tmp_path / name / "deep" / f"{number}.png", flat((1, 1, 1)))
    assert load_folder(tmp_path, "train", 2, 1)[2] == ("cat", "test", "val")


def test_other_names_of_splits_are_taken_for_classes_with_a_message(tmp_path, caplog):
    for split in ("train", "testing"):
        for number in range(2):
            save(tmp_path / split / "a" / f"{number}.png", flat((1, 1, 1)))
    assert load_folder(tmp_path, "train", 2, 1)[2] == ("testing", "train")
    assert "train beside one of test, val, valid, validation" in caplog.text


ODD_NAMES = ["$20 bill", "A$^$", 'it\'s "x"', "猫 cat", "☕", "line\nbreak", "a&<b>", unicodedata.normalize("NFD", "é")]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows forbids some of the names")
def test_odd_names_of_classes_are_kept(tmp_path):
    for name in ODD_NAMES:
        for number in range(2):
            save(tmp_path / name / f"{name}{number}.PnG", flat((1, 1, 1)))
    assert load_folder(tmp_path, "train", 2, 1)[2] == tuple(sorted(ODD_NAMES))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep names as Unicode")
def test_names_that_are_not_utf_8_become_text_that_can_be_written(tmp_path):
    for name in (b"caf\xe9", b"tea"):
        folder = os.path.join(os.fsencode(tmp_path), name)
        os.mkdir(folder)
        for number in range(2):
            save(tmp_path / os.fsdecode(name) / f"{number}.png", flat((1, 1, 1)))
    classes = load_folder(tmp_path, "train", 2, 1)[2]
    assert classes == ("caf\\xe9", "tea") and "".join(classes).encode()


def test_images_of_a_class_are_in_order_of_their_names_and_one_class_is_enough(tmp_path):
    for value, name in enumerate(["B.png", "a/z.png", "a0.png", "b.png"]):
        save(tmp_path / "train" / "one" / name, flat((value,) * 3))
    images, labels, classes = load_folder(tmp_path, "train", 2, 1)
    assert (images[:, 0, 0, 0].tolist(), labels.tolist(), classes) == ([0, 1, 2, 3], [0] * 4, ("one",))


def test_a_note_names_the_count_of_images_of_sixteen_bits(tmp_path, caplog):
    for number in range(3):
        save(tmp_path / "train" / "a" / f"{number}.png", flat((1, 1, 1)))
    Image.fromarray(np.full((4, 4), 1000, np.uint16)).save(tmp_path / "train" / "a" / "deep.png")
    assert load_folder(tmp_path, "train", 2, 1)[0][3].max() == 1000 >> 8
    assert "1 of 4 images have 16 bits per pixel" in caplog.text
    caplog.clear()
    assert load_folder(tmp_path, "train", 2, 1, (0, 2000))[0][3].max() == 128
    assert not caplog.records


def test_images_beyond_memory_are_refused(tmp_path):
    save(tmp_path / "train" / "a" / "1.png", flat((1, 1, 1)))
    with pytest.raises(DataError, match="1 images of 10000000000 x 10000000000 pixels and 3 channels do not fit"):
        load_folder(tmp_path, "train", 10**10, 3)
