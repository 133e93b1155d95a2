"""Planted mistakes in what computes: the engine, operations, kernels, layers, networks, optimisers."""

from tests.mutants.mutant import Mutant

_ENGINE = "tests/test_autograd.py tests/test_ownership.py tests/test_mutation.py tests/test_tensor.py"
_OPS = "tests/ops"
_MODELS = "tests/models/test_models.py"

MUTANTS = tuple(
    Mutant(*row)
    for row in (
        # -- the engine
        ("tinycnn/autograd.py", "total.owned and not leaf._hooks", "total.owned", _ENGINE),
        ("tinycnn/autograd.py", "owned = total.owned and not node.hooks", "owned = total.owned", _ENGINE),
        ("tinycnn/autograd.py", "yield edge, fitted, new or fitted is not part", "yield edge, fitted, True", _ENGINE),
        ("tinycnn/autograd.py", "bool(own.get(promise)) and", "bool(getattr(cls, promise)) or", _ENGINE),
        ("tinycnn/autograd.py", "return declared and (", "return (", _ENGINE),
        ("tinycnn/autograd.py", "(node.returns_grad and owned)", "node.returns_grad", _ENGINE),
        ("tinycnn/autograd.py", "if not uses[edge.target]:", "if uses[edge.target] <= 1:", _ENGINE),
        ("tinycnn/autograd.py", "    with _adding:\n", "    if True:\n", _ENGINE),
        ("tinycnn/autograd.py", 'grad if owned else grad.copy(order="K")', "grad", _ENGINE),
        (
            "tinycnn/autograd.py",
            "_add_to_grad(tensor, grad, owned=False)",
            "_add_to_grad(tensor, grad, owned=True)",
            _ENGINE,
        ),
        ("tinycnn/autograd.py", "after_in_child=_renew_lock", "after_in_child=list", _ENGINE),
        ("tinycnn/autograd.py", "value.item() if isinstance(value, np.generic) else value", "value", _ENGINE),
        (
            "tinycnn/autograd.py",
            "return grad if grad.dtype == edge.dtype else grad.astype(edge.dtype)",
            "return grad",
            _ENGINE,
        ),
        (
            "tinycnn/kernels/arrays.py",
            "(shape[i - extra] == 1 and grad.shape[i] != 1)",
            "shape[i - extra] == 0",
            _ENGINE,
        ),
        ("tinycnn/kernels/arrays.py", "if output.dtype == np.float64 and not any(", "if any(", _ENGINE),
        ("tinycnn/hooks.py", "    if array.shape != like.shape:", "    if array.ndim != like.ndim:", _ENGINE),
        ("tinycnn/hooks.py", "shown.flags.writeable = False", "pass", _ENGINE),
        ("tinycnn/hooks.py", "else array.astype(like.dtype)", "else array", _ENGINE),
        ("tinycnn/mutation.py", "same = version_of(array) == self.versions[i]", "same = True", _ENGINE),
        ("tinycnn/mutation.py", "return array if array.base is None else memory_of(array)", "return array", _ENGINE),
        ("tinycnn/mutation.py", "lambda _: _versions.pop(key, None)", "lambda _: None", _ENGINE),
        ("tinycnn/tensor.py", "with changing(self.data):", "if True:", _ENGINE),
        (
            "tinycnn/tensor.py",
            "return index.data.copy() if isinstance(index, Tensor)",
            "return index.data if isinstance(index, Tensor)",
            _ENGINE,
        ),
        ("tinycnn/tensor.py", "or (self._requires_grad and is_grad_enabled())", "", _ENGINE),
        (
            "tinycnn/tensor.py",
            "state = on_host(self.data), on_host(self._grad),",
            "state = on_host(self.data), None,",
            _ENGINE,
        ),
        ("tinycnn/tensor.py", "if given != self.dtype and not isinstance(value, np.generic):", "if False:", _ENGINE),
        (
            "tinycnn/kernels/choice.py",
            "if self.owner is owner and self.outer is not None:",
            "if self.outer is not None:",
            "tests/test_grad_mode.py",
        ),
        (
            "tinycnn/kernels/choice.py",
            "                inner = self._frames.get()\n",
            "                pass\n",
            "tests/test_grad_mode.py",
        ),
        (
            "tinycnn/kernels/choice.py",
            "                self._frames.set(outer)\n",
            "                pass\n",
            "tests/test_grad_mode.py",
        ),
        ("tinycnn/grad_mode.py", "if function is None else cls()(function)", "", "tests/test_grad_mode.py"),
        # -- operations
        ("tinycnn/ops/convolution.py", "*geometry) if need_x else None", "*geometry) if need_weight else None", _OPS),
        (
            "tinycnn/ops/matmul.py",
            "self._product(a.swapaxes(-1, -2), grad) if need_b else None",
            "self._product(a.swapaxes(-1, -2), grad) if need_a else None",
            _OPS,
        ),
        (
            "tinycnn/ops/matmul.py",
            "grad.sum(axis=0) if need_bias else None",
            "grad.mean(axis=0) if need_bias else None",
            _OPS,
        ),
        (
            "tinycnn/ops/shape.py",
            "isinstance(part, (int, np.integer, slice)) for part in parts)",
            "isinstance(part, (int, np.integer, slice)) for part in parts[:1])",
            _OPS,
        ),
        ("tinycnn/ops/elementwise.py", "np.where((a == 0) & (b >= 0), 0,", "np.where((a == 0) & (b > 0), 0,", _OPS),
        ("tinycnn/ops/elementwise.py", "& (x <= self.high))", "& (x < self.high))", _OPS),
        ("tinycnn/ops/elementwise.py", "np.where(a == b, grad / 2, grad)", "grad", _OPS),
        ("tinycnn/ops/reduction.py", "hit = (x == self.largest) | (x != x)", "hit = x == self.largest", _OPS),
        ("tinycnn/ops/reduction.py", "scale = grad.dtype.type(2) /", "scale = grad.dtype.type(1) /", _OPS),
        ("tinycnn/ops/shape.py", "self.inverse = np.argsort(dims)", "self.inverse = dims", _OPS),
        (
            "tinycnn/ops/loss.py",
            "self.save(log_probabilities, target, weight)",
            "self.save(log_probabilities, target, None)",
            _OPS,
        ),
        (
            "tinycnn/ops/normalization.py",
            "unbiased = self.count / max(self.count - 1, 1)",
            "unbiased = 1.0",
            "tests/ops tests/nn tests/kernels/test_normalization.py",
        ),
        # -- kernels
        (
            "tinycnn/kernels/cpu/im2col.py",
            "if top % stride_y == 0 and left % stride_x == 0:",
            "if top % stride_y == 0:",
            "tests/kernels/test_convolution.py",
        ),
        (
            "tinycnn/kernels/cpu/im2col.py",
            "inside = 0 <= y < x.shape[2] and 0 <= at < x.shape[3]",
            "inside = 0 < y < x.shape[2] and 0 <= at < x.shape[3]",
            "tests/kernels/test_convolution.py",
        ),
        (
            "tinycnn/kernels/cpu/optimizer.py",
            "v[i] = keep2 * v[i] + take2 * g * g",
            "v[i] = keep2 * v[i] + take2 * g",
            "tests/kernels/test_optimizer_kernels.py",
        ),
        (
            "tinycnn/kernels/cpu/optimizer.py",
            "minus_lr * (grad[i] + weight_decay * parameter[i])",
            "minus_lr * grad[i]",
            "tests/kernels/test_optimizer_kernels.py",
        ),
        (
            "tinycnn/kernels/cpu/optimizer.py",
            "take = 1 if first_step else 1 - dampening",
            "take = 1 - dampening",
            "tests/kernels/test_optimizer_kernels.py",
        ),
        (
            "tinycnn/kernels/cpu/dropout.py",
            "scale = x.dtype.type(1 / (1 - p) if p < 1 else 0)",
            "scale = x.dtype.type(1)",
            "tests/kernels/test_dropout.py",
        ),
        (
            "tinycnn/kernels/cpu/gemm.py",
            "sources[i] = min(column + i, columns - 1) * depth",
            "sources[i] = min(column + i, columns) * depth",
            "tests/ops/test_gradients.py tests/ops/test_semantics.py",
        ),
        (
            "tinycnn/kernels/cpu/pooling.py",
            "share = 1 / (heights[row] * widths[column])",
            "share = 1 / (heights[row] * widths[row])",
            "tests/kernels/test_pooling.py",
        ),
        (
            "tinycnn/kernels/cpu/pooling.py",
            "if top % stride_y or row < 0 or row >= rows:",
            "if top % stride_y or row < 0 or row > rows:",
            "tests/kernels/test_pooling.py",
        ),
        (
            "tinycnn/kernels/cpu/normalization.py",
            "max(0, c - size // 2), min(channels, c + (size - 1) // 2 + 1)",
            "max(0, c - size // 2), min(channels, c + size // 2 + 1)",
            "tests/kernels/test_normalization.py",
        ),
        (
            "tinycnn/kernels/cpu/layout.py",
            "count = sum((size - 1) * step for size, step in zip(sizes, steps)) + images.shape[1]",
            "count = sum(size * step for size, step in zip(sizes, steps))",
            "tests/kernels/test_layout.py",
        ),
        (
            "tinycnn/kernels/cpu/bitstream.py",
            "        if bit == last:",
            "        if bit == last + 1:",
            "tests/compression/test_huffman.py",
        ),
        (
            "tinycnn/kernels/cpu/_cache.py",
            "flags |= {name: str(getattr(numba.config, name, None)) for name in _CONFIGURATION}",
            "",
            "tests/kernels/test_compile.py",
        ),
        (
            "tinycnn/kernels/cpu/_cache.py",
            ".digest() == seal[:_DIGEST]",
            ".digest() is not None",
            "tests/kernels/test_compile.py",
        ),
        (
            "tinycnn/kernels/cpu/direct.py",
            "band, columns = space[lane, LANES:band_size]",
            "band, columns = space[lane, :band_size]",
            "tests/kernels/test_guarded.py",
        ),
        # -- the CUDA kernels, in the simulator
        (
            "tinycnn/kernels/cuda/optimizer.py",
            "take = 1 if first_step else 1 - dampening",
            "take = 1 - dampening",
            "NUMBA_ENABLE_CUDASIM=1 tests/cuda/test_twins.py",
        ),
        # -- networks
        ("tinycnn/models/_build.py", "if min(height, width) < needed:", "if max(height, width) < needed:", _MODELS),
        ("tinycnn/models/_build.py", "if not 0 < width < math.inf:", "if not 0 <= width < math.inf:", _MODELS),
        (
            "tinycnn/models/alexnet.py",
            "num_classes, two_gpus=True, **options",
            "num_classes, two_gpus=False, **options",
            _MODELS,
        ),
        (
            "tinycnn/models/vgg.py",
            "return VGG(13, True, num_classes, **options)",
            "return VGG(13, False, num_classes, **options)",
            _MODELS,
        ),
        ("tinycnn/models/resnet.py", "if depth < 8 or (depth - 2) % 6:", "if depth < 8:", _MODELS),
        ("tinycnn/models/squeezenet.py", "inputs = 2 * expand", "inputs = expand", _MODELS),
        (
            "tinycnn/models/lenet.py",
            "nn.Linear(c2 * GRID * GRID, hidden)",
            "nn.Linear(c2 * GRID * GRID, hidden + 1)",
            _MODELS,
        ),
        # -- optimisers
        ("tinycnn/optim/sgd.py", 'first = "momentum_buffer" not in state', "first = True", "tests/optim"),
        ("tinycnn/optim/adam.py", "_decoupled = True", "_decoupled = False", "tests/optim"),
        (
            "tinycnn/optim/optimizer.py",
            '            state["step"] += 1\n',
            '            state["step"] = 1\n',
            "tests/optim",
        ),
        ("tinycnn/optim/optimizer.py", "with changing(parameter.data):", "if True:", "tests/test_mutation.py"),
        (
            "tinycnn/optim/plateau.py",
            "if self.bad_steps > self.patience:",
            "if self.bad_steps >= self.patience:",
            "tests/optim",
        ),
        ("tinycnn/optim/checks.py", "    if value.dtype != data.dtype:", "    if False:", "tests/optim"),
        ("tinycnn/optim/checks.py", "if not array.flags.writeable:", "if False:", "tests/optim"),
        (
            "tinycnn/optim/clip.py",
            "for p in {id(p): p for p in members}.values() if p.grad",
            "for p in members if p.grad",
            "tests/optim",
        ),
    )
)
