"""Planted mistakes in the kernels, on the CPU and, in the simulator, on the GPU."""

from tests.mutants.mutant import Mutant, planted

_CPU, _CUDA = "tinycnn/kernels/cpu/", "tinycnn/kernels/cuda/"
_NOJIT = "NUMBA_DISABLE_JIT=1 -m nojit tests/kernels/"
_TWINS = "NUMBA_ENABLE_CUDASIM=1 tests/cuda/test_twins.py -k "

MUTANTS: tuple[Mutant, ...] = (
    *planted(
        _CPU + "activation.py",
        _NOJIT + "test_activation.py",
        ("value[i] if x[i] > 0 else value[i] * slope", "value[i] if x[i] < 0 else value[i] * slope"),
        ("grad[i] * (one - out[i]) * out[i]", "grad[i] * (one - out[i])"),
        ("grad[i] * (one - out[i] * out[i])", "grad[i] * (one - out[i])"),
        ("-60.0 if abs(v) > 30", "-60.0 if abs(v) > 3"),
        ("q = q * r + 1 / 24\n", "q = q * r + 1 / 25\n"),
    ),
    *planted(
        _CPU + "normalization.py",
        _NOJIT + "test_normalization.py",
        ("mean[c] /= last - first", "mean[c] /= MOMENT_ROWS"),
        (
            "square += (means[block, i, c] - mean[c]) ** 2 * min(",
            "square -= (means[block, i, c] - mean[c]) ** 2 * min(",
        ),
        ("inv_std.astype(np.float64) ** 2 * product_mean", "inv_std.astype(np.float64) * product_mean"),
    ),
    *planted(
        _CPU + "normalization.py",
        "tests/kernels/test_normalization.py",
        ("grad_x = _affine(grad, zero, inv_std * weight, zero)", "grad_x = _affine(grad, zero, inv_std, zero)"),
        ("row[i] -= factor * x[image, c, i] * term", "row[i] += factor * x[image, c, i] * term"),
        ("real(2 * alpha * beta / size),", "real(alpha * beta / size),"),
        (
            "max(0, c - (size - 1) // 2), min(channels, c + size // 2 + 1)",
            "max(0, c - size // 2), min(channels, c + size // 2 + 1)",
        ),
    ),
    *planted(
        "tinycnn/kernels/geometry.py",
        _NOJIT + "test_pooling.py",
        (">= self.size + self.before else count", "> self.size + self.before else count"),
        ("self.dilation * (self.kernel - 1)", "self.dilation * self.kernel"),
    ),
    *planted(
        "tinycnn/kernels/reference",
        "tests/kernels/test_reference.py",
        ("np.where(out <= 0, 0, grad)", "np.where(out < 0, 0, grad)"),
        ("i * shape.dilation[0], j * shape.dilation[1]", "i * shape.dilation[0], j * shape.dilation[0]"),
        ("columns = rows.swapaxes(1, 2) @ grad", "columns = rows[..., ::-1].swapaxes(1, 2) @ grad"),
        ("(value > out) | np.isnan(value)", "(value >= out) | np.isnan(value)"),
        ("np.where(taken == number, grad, 0)", "np.where(taken >= number, grad, 0)"),
        ("-(-(i + 1) * n // count)", "(i + 1) * n // count"),
        ("np.clip([start, start + k], 0, n)", "np.clip([start, start + k], 0, n - 1)"),
        ("ravel()[first % 4 :]", "ravel()"),
        ("(product1 >> 32) ^ b ^ key0", "(product1 >> 32) ^ b ^ key1"),
        ("+ label_smoothing * w / C", "+ label_smoothing / C"),
        (
            "_window_sum(grad * out / scale, (size - 1) // 2, size // 2)",
            "_window_sum(grad * out / scale, size // 2, size // 2)",
        ),
        ("g if first_step else", "g if False else"),
        ("exp_avg_sq / (1 - beta2**step)", "exp_avg_sq / (1 - beta1**step)"),
    ),
    *planted(
        "tinycnn/kernels/__init__.py",
        "tests/kernels/test_use_kernels.py",
        ("value.item() if isinstance(value, np.generic) else value", "value"),
        ('            self.package = "reference"\n', '            self.package = "cuda"\n'),
        ("(reason := numba_is_missing()) is None", "(reason := numba_is_missing()) is not None"),
        ('os.environ.get("TINYCNN_KERNELS") or "fast"', '"fast"'),
    ),
    *planted(
        _CPU + "pooling.py",
        _NOJIT + "test_pooling.py",
        ("wins = (value > best[c]) |", "wins = (value >= best[c]) |"),
        ("axis.size + axis.after)\n        inside", "axis.size)\n        inside"),
        ("counted = end - start if count_include_pad", "counted = inside[1] - inside[0] if count_include_pad"),
    ),
    *planted(
        _CPU + "pooling.py",
        "tests/kernels/test_pooling.py",
        ("-(-(i + 1) * size // count)\n", "(i + 1) * size // count\n"),
        ("counted = end - start if count_include_pad", "counted = axis.kernel + 0 * start if count_include_pad"),
    ),
    *planted(
        _CPU + "softmax.py",
        "tests/kernels/test_softmax.py",
        ("exp_of_negative(np.float64(log_p[r, i])) * total", "exp_of_negative(np.float64(log_p[r, i]))"),
        ("loss -= smoothing / classes * total", "loss -= smoothing * total"),
        ("total = on_target + share * total_weight", "total = on_target + share * classes"),
        ("sample_weights[r] = weight[t]", "sample_weights[r] = 1"),
        ("if smoothing > 0:  # else", "if smoothing >= 0:  # else"),
    ),
    *planted(
        _CPU + "machine/nhwc.py",
        "tests/kernels/test_layout.py",
        (
            "(height * width * step, width * step, step) and step >= c else",
            "(height * width * step, width * step, step) else",
        ),
        ("if any(step < 0 or step % images.itemsize", "if any(step % images.itemsize"),
        ("n * target_n + y * target_y + x * target_x", "n * target_n + y * target_y + x * source_x"),
    ),
    *planted(
        _CPU + "dropout.py",
        "tests/kernels/test_dropout.py",
        ("for _ in range(10):", "for _ in range(9):"),
        ("(key1 + _W1) & _LOW", "(key1 + _W0) & _LOW"),
        ("first = origin + (image * channels + channel + c) * area", "first = (image * channels + channel + c) * area"),
    ),
    *planted(
        _CPU + "optimizer.py",
        _NOJIT + "test_optimizer_kernels.py",
        ("(1 - lr * weight_decay, 0.0) if decoupled", "(1 - weight_decay, 0.0) if decoupled"),
        ("(1 - beta2**step) ** 0.5", "(1 - beta2) ** 0.5"),
        ("m[i] += take1 * (g - m[i])", "m[i] += take1 * g"),
        ("(take_grad * g + take_velocity * v)", "(take_velocity * v)"),
    ),
    *planted(
        _CPU + "conv/im2col.py",
        "tests/kernels/test_algorithms.py",
        ("out[outputs] += matmul(", "out[outputs] = matmul("),
    ),
    *planted(
        _CPU + "conv/__init__.py",
        "tests/kernels/test_convolution.py",
        (
            "min(rows.shape[0], (block + 1) * BIAS_ROWS)):\n            for c",
            "min(rows.shape[0], (block + 1) * BIAS_ROWS) - 1):\n            for c",
        ),
    ),
    *planted(
        _CPU + "matmul.py",
        "tests/kernels/test_convolution.py",
        ("c[target + i * c_step + j] += corner", "c[target + i * c_step + j] = corner"),
        (
            "b[k * columns + column + i] * panels[panel, k, lane]",
            "b[k * columns + column + i] * panels[panel, k - start, lane]",
        ),
    ),
    *planted(
        _CPU + "machine/simd_python.py",
        "NUMBA_DISABLE_JIT=1 -m nojit tests/kernels/test_algorithms.py tests/kernels/test_convolution.py",
        ("result[lane] = a[lane] - b[lane]", "result[lane] = b[lane] - a[lane]"),
        ("        if not accumulate:\n", "        if accumulate:\n"),
    ),
    *planted(
        _CPU + "machine/prange.py",
        "tests/kernels/test_backends.py",
        ("self.lock = threading.Lock()\n        self.lock.acquire()", "self.lock = threading.Lock()"),
        ("    if failed:\n", "    if failed > 99:\n"),
    ),
    *planted(
        "tinycnn/compression/bitstream.py",
        "NUMBA_DISABLE_JIT=1 -m nojit tests/compression/test_huffman.py",
        ("out[position] = waiting << (8 - bits) & 255", "out[position] = waiting << (7 - bits) & 255"),
        ("first = (first + sizes[length]) << 1", "first = first + sizes[length]"),
    ),
    *planted(
        "tinycnn/compression/bitstream.py",
        "tests/compression/test_huffman.py tests/compression/test_container.py",
        ("found.tolist() == [size + 1, len(values) + 1]", "found[0] == size + 1"),
    ),
    # -- CUDA
    *planted(
        _CUDA + "im2col.py",
        _TWINS + "col",
        ("pixel // out_columns * stride_y - pad_y + i * dilation_y", "pixel // out_columns * stride_y - pad_y + i"),
        ("pixel % out_columns * stride_x - pad_x", "pixel % out_columns * stride_y - pad_x"),
        ("left = x + pad_x - j * dilation_x", "left = x + pad_y - j * dilation_x"),
    ),
    *planted(
        _CUDA + "pooling.py",
        _TWINS + "pool",
        ("if value > best or value != value", "if value >= best or value != value"),
        ("max(min(end, size + after) - start if after >= 0 else last - first, 1)", "max(last - first, 1)"),
        ("min((at + parts - 1) // step, count - 1)", "min(at // step, count - 1)"),
    ),
    *planted(
        _CUDA + "reduction.py",
        "NUMBA_ENABLE_CUDASIM=1 tests/cuda/test_arrays.py",
        ("a if a >= b or a != a else b", "a if a >= b else b"),
        ("a > b or (a == b and i < j)", "a > b"),
    ),
    *planted(
        _CUDA + "softmax.py",
        _TWINS + "'softmax or entropy'",
        ("share += on_target * weight[c]", "share += on_target"),
        ("total = block_sum(total, shared) * on_each", "total = block_sum(total, shared)"),
        ("total += grad[outer, c, inner] * s[outer, c, inner]", "total += grad[outer, c, inner]"),
    ),
    *planted(
        _CUDA + "dropout.py",
        _TWINS + "dropout",
        ("blocks = (first + x.size + 3) // 4 - first // 4", "blocks = (x.size + 3) // 4"),
    ),
    *planted(
        _CUDA + "optimizer.py",
        _TWINS + "update",
        ("(1 - lr * weight_decay, 0.0) if decoupled", "(1 - weight_decay, 0.0) if decoupled"),
        ("(1, momentum) if nesterov", "(1, 1) if nesterov"),
    ),
    *planted(
        _CUDA + "normalization.py",
        _TWINS + "norm",
        ("var[channel] = total / real(count)", "var[channel] = total / real(count - 1)"),
        ("inv_std[c] * inv_std[c] * product_mean[c]", "inv_std[c] * product_mean[c]"),
        ("x[n, c, i] * math.pow(total, -beta)", "x[n, c, i] * math.pow(total, beta)"),
    ),
    *planted(
        _CUDA + "indexing.py",
        "NUMBA_ENABLE_CUDASIM=1 tests/cuda/test_twins.py tests/cuda/test_arrays.py",
        ("for j in range(starts[i], starts[i + 1]):", "for j in range(starts[i] + 1, starts[i + 1]):"),
        ("out[i] = x[(i // (inner * count) * length", "out[i] = x[(i // (inner * count) * count"),
    ),
    *planted(
        _CUDA + "convolution.py",
        "NUMBA_ENABLE_CUDASIM=1 tests/cuda/test_twins.py tests/cuda/test_batches.py -k 'conv or batch'",
        ("sums[0] if len(sums) == 1 else sums.sum(axis=0)", "sums[0]"),
        ("total = sum(parts[1:], parts[0]) if parts", "total = parts[0] if parts"),
    ),
    *planted(
        _CUDA + "elementwise.py",
        "NUMBA_ENABLE_CUDASIM=1 tests/cuda/test_twins.py tests/cuda/test_arrays.py",
        ("out[i] = function(a, b[i])", "out[i] = function(b[i], a)"),
        ("out[i] = a[i] if condition[i] else b[i]", "out[i] = b[i] if condition[i] else a[i]"),
    ),
    *planted(
        _CUDA + "layout.py",
        "NUMBA_ENABLE_CUDASIM=1 tests/cuda/test_twins.py tests/cuda/test_arrays.py",
        ("if target.dtype == np.bool_ != value.dtype:", "if False:"),
        (
            "out = empty(tuple(shape), np.result_type(*(part.dtype for part in parts)))",
            "out = empty(tuple(shape), parts[0].dtype)",
        ),
    ),
)
