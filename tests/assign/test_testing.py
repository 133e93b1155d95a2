"""Comparisons that an assignment's tests are written with."""

import numpy as np
import pytest

from tinycnn.assign.sandbox import GraderError, StudentError
from tinycnn.assign.testing import Call, Check, Wrong, numeric_gradient


class Asked:
    """A student whose last call is known."""

    last_call = Call("f", (), {})


@pytest.fixture
def check():
    return Check(Asked())


@pytest.mark.parametrize(
    ("got", "expected", "hint"),
    [
        (5, 4, "off by one"),
        (3, 4, "off by one"),
        (6, 4, ""),
        (4.0, 4, "a float where a whole number is wanted: // rounds down to one"),
        (True, 1, ""),
        ([1, 2.0], [1, 2], ""),
        ([1, 2], [1, 2, 3], ""),
    ],
)
def test_equal_wants_the_same_kinds(check, got, expected, hint):
    with pytest.raises(Wrong) as error:
        check.equal(got, expected)
    assert error.value.hint == hint


def test_equal_takes_sequences_and_numbers_of_numpy(check):
    check.equal((1, np.int64(2)), [1, 2])
    check.equal(np.array([1, 2]), (1, 2))
    with pytest.raises(Wrong, match="the number of arrays is 3, expected 2") as error:
        check.equal(3, 2, {"one too many": 3}, "the number of arrays")
    assert error.value.hint == "one too many"


@pytest.mark.parametrize(("dtype", "allowed"), [(np.float32, 1e-4), (np.float64, 1e-7)])
def test_close_allows_what_the_dtype_does(check, dtype, allowed):
    expected = np.array([1.0, -200.0])
    for off, right in ((0.5, True), (2.0, False)):
        got = (expected + [off * allowed * 200, 0]).astype(dtype)
        if right:
            check.close(got, expected)
        else:
            with pytest.raises(Wrong):
                check.close(got, expected)
    check.close(expected + 0.9, expected, tolerance=0.005)
    with pytest.raises(Wrong):
        check.close(expected + 1.1, expected, tolerance=0.005)


def test_refuses_wants_a_value_error(check):
    def raising(kind):
        def function(*arguments):
            raise StudentError(kind, "text")

        return function

    check.refuses(raising("ValueError"))
    with pytest.raises(StudentError):
        check.refuses(raising("TypeError"))
    with pytest.raises(Wrong, match="expected a ValueError"):
        check.refuses(lambda: 1)


def test_parts_keep_failures_and_let_the_graders_own_pass(check):
    for error in (Wrong("", ""), StudentError("TypeError", "text"), ZeroDivisionError()):
        with check.part():
            raise error
    with pytest.raises(StudentError), check.part():
        raise StudentError("Timeout", "text", fatal=True)
    with pytest.raises(GraderError), check.part():
        raise GraderError("broken")
    assert check.parts == 5 and len(check.failures) == 3


def test_the_numeric_gradient_is_the_derivative():
    x = np.array([[0.5, -2.0], [3.0, 1.0]])
    np.testing.assert_allclose(numeric_gradient(lambda a: (a**3).sum(), x), 3 * x**2, rtol=1e-6)
