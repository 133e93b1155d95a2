"""Device arrays compute the same as NumPy's, by kernels of our own, and never return to the host by themselves."""

from types import SimpleNamespace

import numpy as np
import pytest

from tinycnn.kernels.cuda import gemm
from tinycnn.kernels.cuda.array import DeviceArray, from_host, to_host, transfers
from tinycnn.kernels.cuda.machine import target

pytestmark = pytest.mark.usefixtures("runtime")

X = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(3, 1)).astype(np.float32)
ODD = X.copy()
ODD[0, 0] = np.nan, np.inf, -np.inf, 0


def same(function, *arrays):
    """Check that the function gives the same numbers and dtype on the device."""
    with np.errstate(all="ignore"):
        expected = np.asarray(function(*arrays))
    before = transfers.count
    got = function(*map(from_host, arrays))
    assert isinstance(got, DeviceArray) and transfers.count == before
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(to_host(got), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "function", [np.negative, np.absolute, np.sign, np.exp, np.log, np.sqrt, np.isnan, np.isfinite], ids=str
)
def test_functions_of_one_array_also_where_it_is_not_finite(function):
    same(function, X)
    same(function, ODD)


@pytest.mark.parametrize(
    "function",
    [np.add, np.subtract, np.multiply, np.true_divide, np.maximum, np.minimum, np.equal, np.less, np.greater_equal],
    ids=str,
)
def test_functions_of_two_arrays_broadcast_and_pass_nan_on(function):
    same(function, ODD, X)
    same(function, X, Y)
    same(lambda a: function(a, 0.5), X)
    same(lambda a: function(2, a), X)


def test_views_and_steps_are_read_where_they_lie():
    same(lambda a: a.T + 1, X)
    same(lambda a: a[1, ::-1, None, 1:3] * 2, X)
    same(lambda a, b: a.transpose(2, 0, 1) * b.T[0][:2, None], X, Y)
    same(lambda a: a.reshape(1, 2, 1, 3, 4)[..., ::2].transpose(4, 3, 2, 1, 0) + a.reshape(4, 3, 1, 2, 1)[:2], X)
    same(lambda a: np.broadcast_to(a[:, None], (2, 5, 3, 4)).astype(np.float64), X)


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 2), -1])
def test_reductions(axis):
    for keepdims in (False, True):
        same(lambda a, k=keepdims: a.sum(axis=axis, keepdims=k), X)
        same(lambda a, k=keepdims: a.max(axis=axis, keepdims=k), ODD)
    same(lambda a: a.mean(axis=axis), X)
    same(lambda a: (a > 0).sum(axis=axis), X)
    if not isinstance(axis, tuple):
        same(lambda a: a.argmax(axis=axis), ODD)


def test_assignment_by_slices_arrays_and_masks():
    def change(a):
        b = a.copy()
        b[:, 1] = 7
        b[0] = b[1]
        b[:, ::-1] = a[:, :1]
        return b

    same(change, X)
    same(lambda a: a.astype(bool) & (a > 0.5), X)
    with pytest.raises(TypeError, match=r"a NumPy array of shape \(3, 4\) met an array on the GPU"):
        from_host(X)[0] = X[0]
    places, mask = np.array([1, 0, 1]), X[:, 0] > 0
    same(lambda a: a[places, :, np.array([0, 1, 2])], X)
    same(lambda a: a[:, 0][mask], X)


def test_an_element_that_is_meant_twice_gets_both_sums():
    def collect(a):
        b = np.zeros_like(a)
        np.add.at(b, (np.array([0, 1, 0]), 2), a[:, 0][np.array([0, 1, 1])])
        return b

    same(collect, X)


def test_joining_cutting_and_choosing():
    same(lambda a: np.concatenate([a, a[:, :1]], axis=1), X)
    same(lambda a, b: np.concatenate([a, b], axis=1), X, X.astype(np.float64))
    same(lambda a: np.stack([a, 2 * a], axis=1), X)
    same(lambda a: np.split(a, [1, 2], axis=1)[1], X)
    same(lambda a: np.moveaxis(a, 2, 0), X)
    same(lambda a: np.where(a > 0, a, 0), X)
    same(lambda a: np.clip(a, -0.5, 0.5), X)
    same(lambda a: np.take_along_axis(a, a.argmax(axis=1, keepdims=True), 1), X)
    same(lambda a: np.linalg.norm(a.reshape(-1)), X)
    same(lambda a: np.linalg.norm(a.reshape(-1), np.inf), -abs(X))


@pytest.mark.parametrize(
    "hidden", [np.asarray, float, lambda x: x + np.ones(4), lambda x: np.add.reduce(x), lambda x: np.linalg.svd(x)]
)
def test_a_hidden_copy_to_the_host_is_refused(hidden):
    with pytest.raises(TypeError):
        hidden(from_host(np.arange(4.0)))


@pytest.mark.parametrize("algorithm", gemm.ALGORITHMS)
def test_matrix_products_of_all_kinds_agree(algorithm):
    rng = np.random.default_rng(0)
    with gemm.matmul_algorithm(algorithm):
        for m, k, n in ((5, 7, 3), (1, 64, 2), (2, 0, 3)):
            a, b = rng.normal(size=(m, k)), rng.normal(size=(k, n))
            same(_product, a, b)
            same(lambda x, y: _product(x.T, y.T), np.ascontiguousarray(a.T), np.ascontiguousarray(b.T))
        a, b = rng.normal(size=(3, 2, 3, 4)), rng.normal(size=(3, 2, 4, 3))
        one_by_one = a @ b
        sums = gemm.multiply(from_host(a), from_host(b), steps=2)
        np.testing.assert_allclose(to_host(sums), [one_by_one[:2].sum(axis=0), one_by_one[2]])
    with pytest.raises(ValueError, match="name is 'fast', expected one of: naive, tiled, registers, cublas"):
        gemm.matmul_algorithm("fast")


def test_cublas_gets_a_repeated_matrix_once_and_a_single_product_as_two_matrices(monkeypatch):
    rng = np.random.default_rng(0)
    shapes = []

    def matmul(a, b, out=None):
        shapes.append((a.shape, b.shape))
        return np.matmul(a, b, out=out)

    one, many, single = rng.normal(size=(2, 4, 3)), rng.normal(size=(5, 2, 4, 2)), rng.normal(size=(1, 1, 2, 6))
    with monkeypatch.context() as patch, gemm.matmul_algorithm("cublas"):
        patch.setattr(target, "xp", SimpleNamespace(matmul=matmul, empty=np.empty))
        repeated = DeviceArray(np.broadcast_to(one, (5, 2, 4, 3))).swapaxes(2, 3)
        batch = gemm.multiply(repeated, DeviceArray(many))
        alone = gemm.multiply(DeviceArray(single).swapaxes(2, 3), DeviceArray(single))
        both = gemm.multiply(repeated, repeated.swapaxes(2, 3))
    assert shapes == [((1, 2, 3, 4), many.shape), ((6, 2), (2, 6)), ((5, 2, 3, 4), (5, 2, 4, 3))]
    np.testing.assert_allclose(to_host(batch), one.swapaxes(1, 2) @ many)
    np.testing.assert_allclose(to_host(alone), single.swapaxes(2, 3) @ single)
    np.testing.assert_allclose(to_host(both), np.broadcast_to(one.swapaxes(1, 2) @ one, (5, 2, 3, 3)))


def _product(a, b):
    return gemm.matmul(a, b) if isinstance(a, DeviceArray) else a @ b
