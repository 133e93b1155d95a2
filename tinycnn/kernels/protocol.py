"""The contract of the kernels: each signature and docstring once, a class for each family.

Operations call ``self.kernels.conv2d(...)``. ``self.kernels`` are those of the input's device, or the reference
(:class:`tinycnn.use_kernels`). Each set is a package with one file for each family, named like the class in lower case:
``Pooling`` is ``reference/pooling.py`` (NumPy, to read first), ``cpu/pooling.py`` and ``cuda/pooling.py``. Exceptions
are in :data:`MODULES`.

Letters: N images, C channels, C_out output channels, H x W pixels, kH x kW kernel, H_out x W_out output pixels. In
normalisation and cross-entropy ``inner`` is the product of all dimensions after the channels. The ``shape`` of a
convolution or a pooling is a record of all sizes, strides, padding and so on (:mod:`.geometry`).

Kernels get arrays of one float type (float32 or float64), of any strides, read-only or not, and return new arrays of
that type unless a docstring says otherwise. NaN and infinity are results, not errors. An empty array is allowed.
Shapes are checked before a kernel runs (:mod:`.contracts`).

Arrays
------
CPU kernels compute with :class:`numpy.ndarray`, CUDA kernels with an array that answers to the same calls. Operations,
which run on both, use only these:

- attributes ``shape, dtype, ndim, size, strides, nbytes, T, device``; on a GPU ``device`` is "cuda";
- indexing and assignment by numbers, slices, None, Ellipsis, arrays of indices and masks;
- operators, also in place, that broadcast;
- methods ``reshape, ravel, transpose, swapaxes, squeeze, astype, copy, fill, sum, mean, max, min, argmax, item``;
- the functions of NumPy in :data:`NUMPY_FUNCTIONS`, through ``__array_function__`` and ``__array_ufunc__``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from tinycnn.kernels.geometry import ConvShape, Pair, PoolShape, Shape

Array = Any  # an array of the kernels' device, see above
ALGORITHMS = ("auto", "im2col", "direct", "winograd")  # of a convolution

NUMPY_FUNCTIONS = tuple(
    "abs add.at broadcast_to clip concatenate equal exp greater greater_equal isfinite less less_equal log maximum "
    "moveaxis not_equal ones_like power put_along_axis result_type shape sign split sqrt stack take_along_axis "
    "true_divide where zeros_like".split()
)


class Memory(Protocol):
    """Arrays of a device: creation, copies, and ownership."""

    def empty(self, shape: Shape, dtype: Any) -> Array:
        """Return an array whose elements are not set."""

    def as_array(self, value: Any) -> Array:
        """Return the value itself if it is an array of this device, else a copy on this device."""

    def storage_of(self, array: Array) -> Any:
        """Return the object that owns an array's memory: arrays that share memory have the same owner."""

    def prefetch_to_device(self, batches: Iterable[tuple[Any, Any]]) -> Iterable[tuple[Array, Any]]:
        """Return batches (images, labels) whose images are on the device; the next is copied while one is in use."""

    def copy_to_host_async(self, *arrays: Array) -> Callable[[], Sequence[Any]]:
        """Begin to copy arrays to the host; the function returned waits for them, and returns NumPy's arrays."""


class Layout(Protocol):
    """The order of images in memory. A set that stores images channels last (N, H, W, C) still shows (N, C, H, W)."""

    def channels_last(self, images: Array) -> Array:
        """Return the same images (N, C, H, W) in the memory order that convolutions read; a copy where needed."""

    def join_channels(self, parts: Sequence[Array]) -> Array:
        """Join images (N, C_i, H, W) along the channels to (N, sum of C_i, H, W)."""

    def assign(self, target: Array, value: Array | float) -> None:
        """Set ``target[...] = value``, a number or an array that broadcasts and does not overlap the target."""


class Elementwise(Protocol):
    """Arithmetic on two arrays of one shape."""

    def add(self, a: Array, b: Array, out: Array | None = None) -> Array:
        """Return a + b, in ``out`` if it is given, which may be ``a`` or ``b``."""


class Gemm(Protocol):
    """The matrix product (GEMM: general matrix multiply)."""

    def matmul(self, a: Array, b: Array) -> Array:
        """Return a b for matrices a (M, K) and b (K, N)."""


class Im2col(Protocol):
    """Convolution as a matrix product: weight (C_out, C kH kW) @ columns (C kH kW, H_out W_out)."""

    def im2col(self, x: Array, shape: ConvShape) -> Array:
        """Return images (N, C, H, W) as columns (N, C kH kW, H_out W_out): a patch for each output pixel."""

    def col2im(self, columns: Array, shape: ConvShape) -> Array:
        """Return images (N, C, H, W) in which each pixel is the sum of its copies: the adjoint of im2col."""


class Convolution(Protocol):
    """Cross-correlation, as networks mean "convolution": the kernel is not flipped.

    ``algorithm`` is one of :data:`ALGORITHMS`. It changes the rounding, not the result. The reference has only im2col,
    which it takes for all of them. Another set raises ValueError for one that it does not have, or that cannot compute
    the shape.
    """

    def conv2d(self, x: Array, weight: Array, bias: Array | None, shape: ConvShape, algorithm: str = "auto") -> Array:
        """Return images (N, C, H, W) convolved with weight (C_out, C / groups, kH, kW), bias (C_out,) added.

        out[n, o, y, x] = bias[o] + sum over c, i, j of weight[o, c, i, j] padded[n, c, y s + i d, x s + j d], with
        stride s and dilation d, c running over the channels of o's group. Shape (N, C_out, H_out, W_out).
        """

    def conv2d_backward_input(self, grad: Array, weight: Array, shape: ConvShape, algorithm: str = "auto") -> Array:
        """Return the gradient (N, C, H, W) of the input: the adjoint of the convolution, applied to ``grad``."""

    def conv2d_backward_weight(self, grad: Array, x: Array, shape: ConvShape, algorithm: str = "auto") -> Array:
        """Return the gradient of the weight: ``grad`` times the pixels it came from, summed over the batch."""

    def conv2d_backward_bias(self, grad: Array) -> Array:
        """Return the gradient (C_out,) of the bias: ``grad`` summed over images and pixels."""


class Pooling(Protocol):
    """The largest element, or the average, of each window of x (N, C, H, W)."""

    def max_pool2d(self, x: Array, shape: PoolShape) -> tuple[Array, Array]:
        """Return the largest element of each window, and which one it is.

        NaN counts as larger than anything, padding as -inf. A window has at most 32767 elements.

        Returns
        -------
        out : (N, C, H_out, W_out)
        taken : int16, (N, C, H_out, W_out)
            The element's number in its window, row by row: the first of equals, the last of several NaN; -1 for a
            window that holds nothing but padding.
        """

    def max_pool2d_backward(self, grad: Array, taken: Array, shape: PoolShape) -> Array:
        """Return the gradient (N, C, H, W) of the input: each of ``grad`` is added to the element that was taken."""

    def avg_pool2d(self, x: Array, shape: PoolShape, count_include_pad: bool) -> Array:
        """Return the average of each window; zeros of the padding count if asked for, pixels beyond it never do."""

    def avg_pool2d_backward(self, grad: Array, shape: PoolShape, count_include_pad: bool) -> Array:
        """Return the gradient (N, C, H, W) of the input: each of ``grad`` is divided among its window."""

    def adaptive_avg_pool2d(self, x: Array, output_size: Pair) -> Array:
        """Return the averages (N, C, H_out, W_out) of windows that share x (N, C, H, W) out evenly.

        Along an axis of n elements, window i of m runs from floor(i n / m) to ceil((i + 1) n / m).
        """

    def adaptive_avg_pool2d_backward(self, grad: Array, input_shape: Shape) -> Array:
        """Return the gradient (N, C, H, W) of the input: each of ``grad`` is divided among its window."""


class Activation(Protocol):
    """Functions of one element. A backward kernel takes the forward's output where that is enough, else its input."""

    def relu(self, x: Array) -> Array:
        """Return max(x, 0)."""

    def relu_backward(self, grad: Array, out: Array, reuse: bool = False) -> Array:
        """Return ``grad`` where out > 0 or NaN, else 0. With ``reuse`` it may be written to ``grad``."""

    def leaky_relu(self, x: Array, negative_slope: float) -> Array:
        """Return ``x if x > 0 else negative_slope * x``."""

    def leaky_relu_backward(self, grad: Array, x: Array, negative_slope: float) -> Array:
        """Return ``grad if x > 0 else negative_slope * grad``."""

    def sigmoid(self, x: Array) -> Array:
        """Return 1 / (1 + e**-x), without overflow."""

    def sigmoid_backward(self, grad: Array, out: Array) -> Array:
        """Return ``grad * out * (1 - out)``."""

    def tanh(self, x: Array) -> Array:
        """Return the hyperbolic tangent."""

    def tanh_backward(self, grad: Array, out: Array) -> Array:
        """Return ``grad * (1 - out**2)``."""

    def gelu(self, x: Array, approximate: bool) -> Array:
        """Return x Phi(x): Phi(x) = erfc(-x / sqrt(2)) / 2, or (1 + tanh(sqrt(2 / pi) (x + 0.044715 x**3))) / 2."""

    def gelu_backward(self, grad: Array, x: Array, approximate: bool) -> Array:
        """Return grad (Phi(x) + x Phi'(x)), where Phi'(x) = e**(-x**2 / 2) / sqrt(2 pi)."""


class Softmax(Protocol):
    """Softmax, its logarithm and cross-entropy: stable, because the largest element is subtracted first."""

    def softmax(self, x: Array, axis: int) -> Array:
        """Return e**x / sum(e**x) along an axis; NaN where all of a row is -inf."""

    def softmax_backward(self, grad: Array, out: Array, axis: int) -> Array:
        """Return ``out * (grad - sum(grad * out))``."""

    def log_softmax(self, x: Array, axis: int) -> Array:
        """Return x - log(sum(e**x)) along an axis."""

    def log_softmax_backward(self, grad: Array, out: Array, axis: int) -> Array:
        """Return ``grad - e**out * sum(grad)``."""

    def cross_entropy(
        self, logits: Array, target: Array, weight: Array | None, ignore_index: int, label_smoothing: float
    ) -> tuple[Array, Array, Array]:
        """Return -sum over c of q[c] log(softmax(logits))[c], not reduced.

        With smoothing e (Szegedy et al. 2016, section 7), weight w and target t:
        q[c] = (1 - e) w[t] [c = t] + e / C w[c].

        Parameters
        ----------
        logits : (N, C, inner)
        target : integers, (N, inner)
            Classes; where it is ``ignore_index``, loss and sample weight are 0; outside the classes they are NaN.
        weight : (C,) or None for ones

        Returns
        -------
        losses : (N, inner)
        sample_weights : (N, inner)
            w[t], the sum of which a mean divides by.
        log_probabilities : (N, C, inner)
            For :meth:`cross_entropy_backward`.
        """

    def cross_entropy_backward(
        self,
        grad: Array,
        log_probabilities: Array,
        target: Array,
        weight: Array | None,
        ignore_index: int,
        label_smoothing: float,
    ) -> Array:
        """Return the gradient (N, C, inner) of the logits, grad (sum(q) softmax - q), for grad (N, inner)."""


class Dropout(Protocol):
    """Dropout from a counter-based generator, so that no mask is stored."""

    def dropout(self, x: Array, p: float, seed: int, stream: int, first: int = 0) -> Array:
        """Return x times 0 with probability p, else times 1 / (1 - p) (Srivastava et al. 2014).

        Backward is the same call on the gradient. Element i, counted from ``first`` in the order of the shape, is kept
        if word i % 4 of block i // 4 of Philox 4x32-10 is at least p 2**32: the same bits in every set of kernels
        (J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011).

        Parameters
        ----------
        x : array of any shape
        p : from 0 to 1, both included
        seed, stream : key, and upper half of the counter, of the generator; their lowest 64 bits count
        first : number of x's first element, where x is a part of a larger array
        """


class Normalization(Protocol):
    """Batch norm (Ioffe and Szegedy 2015) and local response norm (Krizhevsky et al. 2012) of x (N, C, inner).

    ``mean, var, inv_std, weight, bias`` are (C,).
    """

    def batch_norm_statistics(self, x: Array) -> tuple[Array, Array]:
        """Return mean and biased variance of each channel; 0 where there is nothing to average."""

    def track_statistics(
        self, running_mean: Array, running_var: Array, mean: Array, var: Array, momentum: float, unbiased: float
    ) -> None:
        """Move running statistics, in place: running += momentum (batch - running), the variance times ``unbiased``."""

    def inverse_std(self, var: Array, eps: float) -> Array:
        """Return 1 / sqrt(var + eps)."""

    def batch_norm(self, x: Array, mean: Array, inv_std: Array, weight: Array, bias: Array) -> Array:
        """Return (x - mean) inv_std weight + bias."""

    def batch_norm_backward(
        self, grad: Array, x: Array, mean: Array, inv_std: Array, weight: Array, reuse: bool = False
    ) -> tuple[Array, Array, Array]:
        """Return the gradients of x, weight and bias where mean and inv_std are those of x.

        With z = (x - mean) inv_std and averages over a channel: grad_x = weight inv_std (grad - average(grad) - z
        average(grad z)), grad_weight = sum(grad z), grad_bias = sum(grad). With ``reuse`` grad_x may be written to
        ``grad``.
        """

    def batch_norm_gradient_sums(self, grad: Array, x: Array, mean: Array) -> tuple[Array, Array]:
        """Return sum(grad) and sum(grad (x - mean)) of each channel; on the CPU in float64."""

    def batch_norm_backward_input(
        self,
        grad: Array,
        x: Array,
        mean: Array,
        inv_std: Array,
        weight: Array,
        grad_mean: Array,
        product_mean: Array,
        reuse: bool = False,
    ) -> Array:
        """Return the gradient of x alone, given the averages (C,) of grad and of grad (x - mean)."""

    def batch_norm_eval_backward(
        self, grad: Array, x: Array, mean: Array, inv_std: Array, weight: Array
    ) -> tuple[Array, Array, Array]:
        """Return the gradients of x, weight and bias for constant mean and inv_std: grad_x = weight inv_std grad."""

    def local_response_norm(self, x: Array, size: int, alpha: float, beta: float, k: float) -> tuple[Array, Array]:
        """Return x / scale**beta and scale = k + alpha / size * sum of x**2 over a window of channels.

        The window of channel c holds channels c - size // 2 to c + (size - 1) // 2. The paper has no division by size.
        """

    def local_response_norm_backward(
        self, grad: Array, x: Array, out: Array, scale: Array, size: int, alpha: float, beta: float
    ) -> Array:
        """Return grad / scale**beta - 2 alpha beta / size x * sum of grad out / scale over the windows that hold c."""


class Optimizer(Protocol):
    """Steps of optimisers, in place, in PyTorch's order of arithmetic; all arrays have one shape."""

    def sgd_update(
        self,
        parameter: Array,
        grad: Array,
        momentum_buffer: Array | None,
        first_step: bool,
        lr: float,
        momentum: float,
        dampening: float,
        weight_decay: float,
        nesterov: bool,
    ) -> None:
        """Take a step of stochastic gradient descent; change ``parameter`` and ``momentum_buffer`` v.

        g = grad + weight_decay parameter; v = momentum v + (1 - dampening) g, on the first step v = g and the old v is
        not read; parameter -= lr (g + momentum v if nesterov else v). Without momentum the buffer is None: v = g.
        """

    def adam_update(
        self,
        parameter: Array,
        grad: Array,
        exp_avg: Array,
        exp_avg_sq: Array,
        step: int,
        lr: float,
        beta1: float,
        beta2: float,
        eps: float,
        weight_decay: float,
        decoupled: bool,
    ) -> None:
        """Take step 1, 2, ... of Adam (Kingma and Ba 2015), or if ``decoupled`` AdamW (Loshchilov and Hutter 2019).

        m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g**2;
        parameter -= lr / (1 - beta1**step) m / (sqrt(v) / sqrt(1 - beta2**step) + eps), with g = grad +
        weight_decay parameter; decoupled, g = grad and first parameter *= 1 - lr weight_decay. All but ``grad`` change:
        m is ``exp_avg``, v is ``exp_avg_sq``.
        """


class Kernels(
    Memory,
    Layout,
    Elementwise,
    Gemm,
    Im2col,
    Convolution,
    Pooling,
    Activation,
    Softmax,
    Dropout,
    Normalization,
    Optimizer,
    Protocol,
):
    """All kernels of one set."""


FAMILIES = tuple(family for family in Kernels.__bases__ if family is not Protocol)
PROTOCOL: dict[str, tuple[str, ...]] = {
    family.__name__.lower(): tuple(name for name in vars(family) if not name.startswith("_")) for family in FAMILIES
}
MODULES = {
    "cpu": {"memory": "machine.allocator", "layout": "machine.nhwc", "gemm": "matmul", "convolution": "conv"},
    "reference": {"gemm": "matmul"},
}
"""The modules of a package that have another name than the family."""

FILE_OF = {function: file for file, functions in PROTOCOL.items() for function in functions}
