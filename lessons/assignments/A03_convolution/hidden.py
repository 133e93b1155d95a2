"""Hidden tests."""

import numpy as np

from tinycnn.assign.testing import beside

public = beside(__file__, "public.py")


def extremes(student, rng, check):
    """The convolution by its definition: 1x1 kernels, a kernel as large as the image, one image, one channel."""
    shapes = ({"kernel": (1, 1)}, {"size": (4, 3), "kernel": (4, 3)}, {"batch": 1, "inputs": 1, "outputs": 1})
    for shape in shapes:
        x, weight, bias = public.arrays(rng, **shape)
        with check.part():
            public.compare(check, student.conv2d_loops(x, weight, bias), x, weight, bias)
    x, weight, bias = (array.astype(np.float32) for array in public.arrays(rng))
    with check.part():
        public.compare(check, student.conv2d_loops(x, weight, bias, (1, 1), (2, 2)), x, weight, bias, (1, 1), (2, 2))


def columns_strided(student, rng, check):
    """im2col with strides and paddings that differ between rows and columns."""
    for kernel, stride, padding in (((2, 3), (2, 1), (0, 0)), ((3, 2), (3, 2), (1, 2))):
        x, _, _ = public.arrays(rng, size=(9, 8))
        with check.part():
            check.close(student.im2col(x, kernel, stride, padding), public.columns_of(x, kernel, stride, padding))


def product_strided(student, rng, check):
    """The convolution as a matrix product, with strides, paddings and without a bias."""
    for stride, padding in (((2, 3), (2, 1)), ((1, 2), (0, 2))):
        x, weight, _ = public.arrays(rng, size=(9, 8))
        with check.part():
            got = student.conv2d_columns(x, weight, None, stride, padding)
            public.compare(check, got, x, weight, None, stride, padding)


def any_two_make_one(student, rng, check):
    """Kernels of any two sizes merge."""
    for one, other in (((3, 1), (1, 4)), ((2, 3), (4, 2))):
        first, second = rng.normal(size=(3, 2, *one)), rng.normal(size=(4, 3, *other))
        with check.part():
            public.compare_merged(student, rng, check, first, second)
