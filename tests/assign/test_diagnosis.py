"""Typical mistakes and the words for them."""

import numpy as np
import pytest

from tinycnn.assign.diagnosis import diagnose

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 3, 6, 6))
BIAS = RNG.normal(size=3)
SQUARE = RNG.normal(size=(5, 5))


def shifted(x):
    out = np.zeros_like(x)
    out[..., 1:, 2:] = x[..., :-1, :-2]
    return out


@pytest.mark.parametrize(
    ("got", "expected", "inputs", "words"),
    [
        (X / 4, X, [X + 1], "4 times too small, and 4 is the batch size: a mean where a sum is wanted?"),
        (X * 4, X, [X + 1], "4 times too large, and 4 is the batch size: a sum where a mean is wanted?"),
        (X * 36, X, [X + 1], "36 is the number of places"),
        (2 * X, X, [], "all values are 2 times"),
        (-X, X, [], "the sign is wrong"),
        (SQUARE.T, SQUARE, [], "transposed"),
        (X[:, :, :, :5].transpose(0, 1, 3, 2), X[:, :, :, :5], [], "transposed"),
        (X[:, :, ::-1, ::-1], X, [], "flipped"),
        (X - BIAS[:, None, None], X, [X, BIAS], "missing: the bias?"),
        (X + BIAS[:, None, None], X, [X, BIAS], "there twice: the bias?"),
        (SQUARE, SQUARE + 2 * SQUARE.T, [2 * SQUARE.T], "overwritten rather than accumulated"),
        (X + 0.5, X, [], "all values are off by 0.5"),
        (shifted(X), X, [], "shifted by 1, 2"),
        (RNG.permutation(X.ravel()).reshape(X.shape), X, [], "in the wrong places"),
        (np.where(np.pad(np.ones((4, 4)), 1), X, 0), X, [], "wrong at the border"),
        (np.zeros_like(X), X, [], "0 everywhere"),
        (SQUARE, SQUARE**2, [SQUARE], "an input, unchanged"),
        (np.full_like(X, np.nan), X, [np.full((2, 2), 900.0)], "overflow in exp"),
        (np.full_like(X, -np.inf), X, [X], "infinity where the answer is finite"),
        (X[:, :, :5, :5], X, [], "one element too few"),
        (np.pad(X, ((0, 0), (0, 0), (1, 1), (1, 1))), X, [], "padding that was forgotten, or counted twice"),
        (X.reshape(4, -1), X, [], "the shape is (4, 108), expected (4, 3, 6, 6)"),
    ],
)
def test_each_signature_has_its_words(got, expected, inputs, words):
    assert words in diagnose(got, expected, inputs)


def test_what_a_test_knows_of_its_own_mistakes_comes_first():
    wrong = {"another": X + 1, "twice": lambda: 2 * X}
    assert diagnose(2 * X, X, [], wrong) == "twice"


def test_an_answer_without_a_signature_has_no_diagnosis():
    assert diagnose(RNG.normal(size=(4, 5)), RNG.normal(size=(4, 5))) == ""
    assert diagnose(np.array(1.5), np.array(2.7)) == ""
