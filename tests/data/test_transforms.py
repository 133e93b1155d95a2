"""Transforms: what they do to pixels, and that the same generator gives the same result."""

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


def test_resize_keeps_a_constant_and_the_mean():
    constant = np.full((1, 1, 7, 9), 77, np.uint8)
    assert (T.Resize(13)(constant, RNG) == 77).all()
    smaller = T.Resize(4)(IMAGES[..., :8], RNG)
    assert abs(float(smaller.mean()) - float(IMAGES[..., :8].mean())) < 4


def test_center_crop_and_cutout():
    np.testing.assert_array_equal(T.CenterCrop(4)(IMAGES, RNG), IMAGES[:, :, 2:6, 3:7])
    holes = T.Cutout(4)(np.full((20, 1, 12, 12), 9, np.uint8), RNG)
    zeros = (holes == 0).sum(axis=(1, 2, 3))
    assert zeros.max() == 16 and zeros.min() >= 4
    with pytest.raises(ValueError, match="smaller than 12"):
        T.CenterCrop(12)(IMAGES, RNG)


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
    ],
)
def test_bad_arguments_golden(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert str(caught.value) == message
