"""Transforms: their effect on pixels, and equal results for equal generators."""

import copy
import pickle

import numpy as np
import pytest

from tinycnn.data import transforms as T

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(256, size=(6, 3, 8, 10), dtype=np.uint8)
ALL = [T.RandomCrop(8, 2), T.RandomHorizontalFlip(), T.Resize(5), T.CenterCrop(6), T.ColorJitter(), T.Cutout(3)]


@pytest.mark.parametrize("transform", ALL, ids=lambda t: type(t).__name__)
def test_same_generator_same_result_same_dtype_and_the_input_is_left_alone(transform):
    before = IMAGES.copy()
    first, second = (transform(IMAGES, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(IMAGES, before)
    assert first.dtype == np.uint8


def test_normalize_makes_zero_mean_and_unit_deviation():
    normalize = T.Normalize.of(IMAGES)
    out = normalize(IMAGES, RNG)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(axis=(0, 2, 3)), 1, atol=1e-5)
    with pytest.raises(ValueError, match="images have 3 channels, mean has 1"):
        T.Normalize([0.5], [0.5])(IMAGES, RNG)


def test_random_crop_is_a_window_of_the_padded_image():
    padded = np.pad(IMAGES, ((0, 0), (0, 0), (1, 1), (1, 1)))
    for image, crop in zip(padded, T.RandomCrop(8, 1)(IMAGES, RNG)):
        windows = [image[:, y : y + 8, x : x + 8] for y in range(3) for x in range(5)]
        assert any((window == crop).all() for window in windows)


def test_flip_mirrors_some_images_whole():
    out = T.RandomHorizontalFlip()(IMAGES, np.random.default_rng(1))
    mirrored = [bool((a == b[..., ::-1]).all()) for a, b in zip(out, IMAGES)]
    kept = [bool((a == b).all()) for a, b in zip(out, IMAGES)]
    assert any(mirrored) and any(kept) and all(m != k for m, k in zip(mirrored, kept))


def test_flip_mirrors_the_share_that_is_asked_for():
    images = np.tile(np.arange(4, dtype=np.uint8), (400, 1, 1, 1))
    for p, low, high in ((0, 0, 0), (0.2, 40, 120), (1, 400, 400)):
        out = T.RandomHorizontalFlip(p)(images, np.random.default_rng(0))
        assert low <= (out[:, 0, 0, 0] == 3).sum() <= high


def test_resize_keeps_a_constant_and_is_not_shifted():
    constant = np.full((1, 1, 7, 9), 77, np.uint8)
    assert (T.Resize(13)(constant, RNG) == 77).all()
    ramp = np.tile(np.arange(12.0), (1, 1, 12, 1))  # pixel i has its centre at i + 1/2
    for size in (6, 4, 24):
        centres = (np.arange(size) + 0.5) * 12 / size - 0.5
        for images, axis in ((ramp, 3), (ramp.swapaxes(2, 3), 2)):
            out = np.moveaxis(T.Resize(size)(images, RNG), axis, -1)[0, 0]
            # The outermost pixels have no neighbours beyond.
            np.testing.assert_allclose(out[:, 1:-1], np.tile(centres[1:-1], (size, 1)), atol=1e-6)


def test_resize_averages_what_it_shrinks():
    checks = np.indices((8, 8)).sum(axis=0) % 2 * 200
    assert (T.Resize(4)(checks[None, None].astype(np.uint8), RNG)[0, 0, 1:-1, 1:-1] == 100).all()


def test_center_crop_is_in_the_middle():
    np.testing.assert_array_equal(T.CenterCrop(4)(IMAGES, RNG), IMAGES[:, :, 2:6, 3:7])
    np.testing.assert_array_equal(T.CenterCrop(5)(IMAGES, RNG), IMAGES[:, :, 1:6, 2:7])
    with pytest.raises(ValueError, match="smaller than 12"):
        T.CenterCrop(12)(IMAGES, RNG)


def test_random_crop_takes_every_offset():
    images = np.tile(np.arange(1, 7 * 9 + 1, dtype=np.uint8).reshape(1, 1, 7, 9), (2000, 1, 1, 1))
    corners = T.RandomCrop(5)(images, np.random.default_rng(0))[:, 0, 0, 0] - 1
    found = set(zip((corners // 9).tolist(), (corners % 9).tolist()))
    assert found == {(y, x) for y in range(3) for x in range(5)}
    padded = T.RandomCrop(9, 1)(np.ones((500, 1, 9, 9), np.uint8), np.random.default_rng(0))[:, 0]
    assert {(int(image[0].any()), int(image[-1].any())) for image in padded} == {(0, 1), (1, 1), (1, 0)}


@pytest.mark.parametrize("size", range(1, 8))
def test_cutout_cuts_size_times_size(size):
    images = np.full((400, 2, 30, 31), 9, np.float32)
    holes = T.Cutout(size)(images, np.random.default_rng(0)) == 0
    np.testing.assert_array_equal(holes[:, 0], holes[:, 1])
    areas = holes[:, 0].sum(axis=(1, 2))
    whole = holes[areas == size * size, 0]
    assert areas.max() == size * size and len(whole) > 200
    assert {(int(h.any(axis=1).sum()), int(h.any(axis=0).sum())) for h in whole} == {(size, size)}
    # Every pixel may be the centre, so a corner has at least the part of the square behind its centre.
    assert areas.min() >= (size - size // 2) ** 2


def jitter_factors(amounts, count, seed):
    """Return the factors that ColorJitter draws, by its definition."""
    rng = np.random.default_rng(seed)
    return [1 + rng.uniform(-amount, amount, (count, 1, 1, 1)) for amount in amounts]


@pytest.mark.parametrize(
    ("low", "high", "clip"), [(0, 1, (0, 1)), (0, 255, (0, 255)), (-2, 2.5, (-np.inf, np.inf)), (0, 4095, None)]
)
def test_color_jitter_keeps_the_range_of_floats(low, high, clip):
    images = np.random.default_rng(1).uniform(low, high, (50, 3, 6, 6)).astype(np.float32)
    images[0, 0, 0, :2] = low, high
    brightness, contrast = jitter_factors((0.4, 0.4), 50, 7)
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    expected = np.clip(((images - mean) * contrast + mean) * brightness, *(clip or (-np.inf, np.inf)))
    out = T.ColorJitter(0.4, 0.4)(images, np.random.default_rng(7))
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5 * high)
    assert out.dtype == np.float32


def test_color_jitter_of_bytes_rounds_and_agrees_with_floats():
    out = T.ColorJitter(0.3, 0.3)(IMAGES, np.random.default_rng(2))
    for scale in (1, 255):
        floats = T.ColorJitter(0.3, 0.3)(IMAGES / (255 / scale), np.random.default_rng(2)) * (255 / scale)
        np.testing.assert_array_equal(out, np.rint(floats))
    named = T.ColorJitter(0.3, 0.3, value_range=(-1, 1))(IMAGES / 127.5 - 1, np.random.default_rng(2))
    assert named.min() >= -1 and named.max() <= 1


def test_color_jitter_takes_the_mean_of_each_image():
    images = np.stack([np.full((1, 4, 4), 0.2), np.full((1, 4, 4), 0.7)]).astype(np.float32)
    out = T.ColorJitter(brightness=0, contrast=1)(images, np.random.default_rng(0))
    np.testing.assert_allclose(out, images, rtol=1e-6)  # contrast changes no flat image


DTYPES = [np.uint8, np.uint16, np.int32, np.float16, np.float32, np.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (1, 1, 7, 7), (3, 2, 9, 8), (2, 0, 8, 8)])
@pytest.mark.parametrize("transform", ALL, ids=lambda t: type(t).__name__)
def test_every_dtype_and_size_is_kept(transform, dtype, shape):
    images = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    before = images.copy()
    out = transform(images, np.random.default_rng(0))
    assert out.dtype == dtype and out.shape[:2] == shape[:2]
    np.testing.assert_array_equal(images, before)


def test_deep_integers_stay_in_range_and_doubles_stay_exact():
    images = np.array([[[[0, 65535], [65535, 0]]]], np.uint16)
    out = T.ColorJitter(1, 1)(np.repeat(images, 30, axis=0), np.random.default_rng(0))
    assert out.max() == 65535 and out.min() == 0
    assert T.Resize(3)(images, RNG)[0, 0, 1, 1] == 32768
    thirds = np.full((1, 1, 4, 4), 1 / 3)
    np.testing.assert_allclose(T.Resize(3)(thirds, RNG), 1 / 3, rtol=1e-15)
    np.testing.assert_allclose(T.Normalize([0.5], [0.5])(images, RNG), np.where(images, 1, -1), rtol=1e-6)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copies_do_the_same(duplicate):
    for transform in (*ALL, T.Normalize([0.5] * 3, [0.2] * 3), T.Compose(ALL[:2])):
        out = [t(IMAGES, np.random.default_rng(3)) for t in (transform, duplicate(transform))]
        np.testing.assert_array_equal(*out)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: T.Resize(0), "Resize: size is 0, expected at least 1"),
        (lambda: T.RandomCrop(8, -1), "RandomCrop: padding is -1, expected at least 0"),
        (lambda: T.RandomHorizontalFlip(2), "RandomHorizontalFlip: p is 2, expected from 0 to 1"),
        (lambda: T.ColorJitter(contrast=-0.1), "ColorJitter: contrast is -0.1, expected from 0 to 1"),
        (lambda: T.Cutout(0), "Cutout: size is 0, expected at least 1"),
        (lambda: T.Normalize([0.5], [0.0]), "Normalize: std is (0.0,), expected numbers above 0"),
        (lambda: T.Normalize([0.5], [1, 1]), "Normalize: mean has 1 numbers but std has 2, expected as many"),
        (lambda: T.Normalize([0.5], [float("nan")]), "Normalize: std is (nan,), expected finite numbers"),
        (lambda: T.Normalize([], []), "Normalize: std is (), expected numbers above 0"),
        (lambda: T.RandomHorizontalFlip(float("nan")), "RandomHorizontalFlip: p is nan, expected from 0 to 1"),
        (
            lambda: T.ColorJitter(value_range=(1, 0)),
            "ColorJitter: value_range is (1, 0), expected (low, high) with low < high",
        ),
        (lambda: T.Resize(4)(IMAGES[0], RNG), "Resize: images have shape (3, 8, 10), expected (N, C, H, W)"),
        (
            lambda: T.Resize(4)(IMAGES[:, :, :0], RNG),
            "Resize: images have shape (6, 3, 0, 10), expected at least one pixel each",
        ),
        (
            lambda: T.Normalize.of(IMAGES[:0]),
            "Normalize.of: images have shape (0, 3, 8, 10), expected at least one pixel",
        ),
    ],
)
def test_bad_arguments_golden(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: T.Resize(2.5), "Resize: size is 2.5, expected an integer"),
        (lambda: T.RandomCrop("8"), "RandomCrop: size is '8', expected a number"),
        (lambda: T.Cutout(None), "Cutout: size is None, expected a number"),
        (lambda: T.CenterCrop(True), "CenterCrop: size is True, expected a number"),
        (lambda: T.ColorJitter("a"), "ColorJitter: brightness is 'a', expected a number"),
        (lambda: T.Normalize(0.5, 0.5), "Normalize: mean is 0.5, expected a sequence of numbers, one a channel"),
        (lambda: T.Compose([T.Resize(4), 3]), "Compose: 3 is not a transform, expected callables (images, rng)"),
        (lambda: T.Cutout(3)(IMAGES.tolist(), RNG), "Cutout: images are a list, expected an array of bytes or floats"),
        (
            lambda: T.Cutout(3)(IMAGES > 3, RNG),
            "Cutout: images are an array of bool, expected an array of bytes or floats",
        ),
    ],
)
def test_wrong_types_golden(make, message):
    with pytest.raises(TypeError) as caught:
        make()
    assert str(caught.value) == message


def test_normalize_takes_arrays():
    normalize = T.Normalize(np.array([0.5, 0.5, 0.5]), np.array([0.25, 0.25, 0.25]))
    np.testing.assert_allclose(normalize(IMAGES, RNG), IMAGES / 255 * 4 - 2, atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_the_pixel_that_is_drawn_is_the_centre_of_the_hole(size):
    images = np.ones((50, 1, 20, 20), np.uint8)
    holes = T.Cutout(size)(images, np.random.default_rng(8))[:, 0] == 0
    rng = np.random.default_rng(8)
    rows, columns = rng.integers(20, size=50), rng.integers(20, size=50)
    for hole, row, column in zip(holes, rows, columns):
        expected = np.zeros((20, 20), bool)
        top, left = row - size // 2, column - size // 2
        expected[max(top, 0) : top + size, max(left, 0) : left + size] = True
        np.testing.assert_array_equal(hole, expected)


@pytest.mark.parametrize("shape", [(8, 5), (5, 8), (5, 5)], ids=str)
def test_random_crop_refuses_images_that_are_smaller_in_one_dimension(shape):
    with pytest.raises(ValueError, match=r"RandomCrop: images of shape .* are smaller than 6"):
        T.RandomCrop(6)(np.zeros((2, 1, *shape), np.uint8), np.random.default_rng(0))
