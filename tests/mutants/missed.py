"""Mistakes that the tests did not notice once, or only with PyTorch."""

from tests.mutants.mutant import Mutant, planted

_OPS = "tests/ops"
_SHARED = """type("Shared", (list,), {"get": lambda s: s[0], "set": lambda s, frame: s.__setitem__(0, frame)})"""

MUTANTS: tuple[Mutant, ...] = (
    # -- numbers
    *planted(
        "tinycnn/kernels/cpu/activation.py",
        "tests/kernels/test_activation.py",
        ("result[i] = 0 if value[i] <= 0", "result[i] = 0 if value[i] < 0"),
    ),
    *planted(
        "tinycnn/kernels/cpu/normalization.py",
        "tests/kernels/test_normalization.py",
        ("momentum * (var * unbiased - running_var)", "momentum * (var - running_var)"),
        ("grad[r, c] = (grad[r, c] - grad_mean[c] -", "grad[r, c] = (grad[r, c] - grad_mean[c] +"),
    ),
    *planted(
        "tinycnn/kernels/cpu/conv/winograd.py",
        "tests/kernels/test_algorithms.py",
        ("max(shape.padding) >= kernel[0]", "max(shape.padding) > kernel[0]"),
    ),
    *planted(
        "tinycnn/execution_plan.py",
        "tests/test_plan.py",
        ("tasks[name] += count", "tasks[name] = count"),
        ("            array[...] = old\n", "            pass\n"),
        ("        generator.set_state(state)\n", "        pass\n"),
        ("            parameter.grad = gradient\n", "            pass\n"),
        ("if node in self.rows:", "if False:"),
        ("        elif self.layers:\n", "        else:\n            self.layers = self.layers or ['']\n"),
    ),
    *planted(
        "tinycnn/kernels/geometry.py",
        "tests/kernels/test_geometry.py tests/ops/test_errors.py tests/ops/test_edges.py",
        ("> axis.kernel // 2 for axis in axes", "> axis.kernel // 2 for axis in axes[:1]"),
        ("max(axis.before, axis.after) > axis.kernel", "axis.before > axis.kernel"),
        ("self.weight[0] % self.groups:", "False:"),
        ("vertical - vertical // 2", "vertical // 2"),
        ("horizontal // 2, horizontal - horizontal // 2", "horizontal - horizontal // 2, horizontal // 2"),
        ("if axis.size + axis.before + axis.after + overhang <", "if axis.size + axis.before + overhang <"),
        ("not is_int(self.groups) or", ""),
    ),
    *planted(
        "tinycnn/nn/init.py",
        "tests/nn/test_init.py",
        ("gain(nonlinearity, a) / math.sqrt(", "gain(nonlinearity) / math.sqrt("),
    ),
    *planted(
        "tinycnn/nn/layers.py",
        "tests/nn/test_layers.py tests/nn/test_init.py",
        ("init.fan_in_and_out(weight)[0], 1)", "init.fan_in_and_out(weight)[1], 1)"),
        ("self.padding, self.dilation, self.ceil_mode)", "self.padding, self.dilation)"),
        ("self.padding, self.ceil_mode, self.count_include_pad)", "self.padding, self.ceil_mode)"),
        ("F.dropout(x, self.p, self.training, self.generator)", "F.dropout(x, self.p, self.training)"),
    ),
    *planted(
        "tinycnn/nn/losses.py",
        "tests/nn/test_layers.py",
        ("self.reduction, self.label_smoothing)\n\n\nclass NLL", "self.reduction)\n\n\nclass NLL"),
        ("F.nll_loss(input, target, self.weight,", "F.nll_loss(input, target, None,"),
    ),
    *planted(
        "tinycnn/nn/state.py",
        "tests/nn",
        ('"mis-shaped": plan.misshaped,', '"mis-shaped": plan.misshaped if strict else [],'),
        ('not name.endswith("num_batches_tracked") and not any(', "not any("),
    ),
    *planted(
        "tinycnn/optim/clip.py",
        "tests/optim",
        ("if max_norm < math.inf and not factor >= 1:", "if max_norm < math.inf:"),
    ),
    *planted(
        "tinycnn/optim/plateau.py",
        "tests/optim",
        ("metric < self.best - margin if", "metric < self.best if"),
        ("            bad_steps,\n            cooling,\n", "            bad_steps,\n            self.cooling,\n"),
    ),
    *planted(
        "tinycnn/data/transforms.py",
        "tests/data/test_transforms.py",
        ("rng.integers(room + 1,", "rng.integers(max(room, 1),"),
        ("(np.arange(size) + 0.5) * ratio - 0.5", "np.arange(size) * ratio"),
        ("images.mean(axis=(1, 2, 3), keepdims=True)", "images.mean()"),
        ("np.arange(length) < first + self.size)", "np.arange(length) <= first + self.size)"),
        ("values = np.clip(np.rint(values), ", "values = np.clip(values, "),
    ),
    *planted(
        "tinycnn/data/loader.py",
        "tests/data/test_loader.py",
        ("self.seed, self.epoch, self.position = numbers", "_, self.epoch, self.position = numbers"),
    ),
    *planted(
        "tinycnn/data/registry.py",
        "tests/data/test_registry.py",
        ("[0.299, 0.587, 0.114]", "[0.114, 0.587, 0.299]"),
    ),
    *planted(
        "tinycnn/training",
        "tests/test_training.py",
        ("if not np.isfinite(self.loss):", "if np.isnan(self.loss):"),
        ("own * count, right)", "own * trainer.loader.batch_size, right)"),
        ("(scores.argmax(axis=1) == self._labels)", "(scores.argmin(axis=1) == self._labels)"),
    ),
    # -- hostile files
    *planted(
        "tinycnn/checkpoint.py",
        "tests/test_checkpoint.py",
        ("if saved not in (str(FORMAT), _FIRST_FORMAT):", "if saved is None:"),
    ),
    *planted(
        "tinycnn/weights/pickle_machine.py",
        "tests/weights",
        ("if (module, name) not in self.names:", "if module not in {known for known, _ in self.names}:"),
    ),
    *planted(
        "tinycnn/weights/torch_pickle.py",
        "tests/weights",
        ("if total > size + _SPARE:", "if False:"),
        ("not in tensor.shape and last >= elements:", "not in tensor.shape and last > elements:"),
        ("if tensor.storage != storages[tensor.storage.key]:", "if False:"),
        ('archive.read(member), order == "big"', "archive.read(member), False"),
    ),
    *planted("tinycnn/weights/safetensors.py", "tests/weights", ("if span.begin != at:", "if False:")),
    *planted(
        "tinycnn/compression/container.py",
        "tests/compression/test_container.py",
        ("if sum(entry.nbytes for entry in found) > limit:", "if any(entry.nbytes > limit for entry in found):"),
    ),
    # -- tools
    *planted(
        "tinycnn/gradient_check.py",
        "tests/test_gradcheck.py",
        (".max(initial=0.0)) * 1e-3, _TINY)", ".max(initial=0.0)), _TINY)"),
        ("self._generator.set_state(self._state)", "pass"),
        ("            tensor.grad = grad\n", "            pass\n"),
        ("                array[...] = copy\n", "                pass\n"),
        ("        generator.set_state(state)\n", "        pass\n"),
    ),
    *planted(
        "tinycnn/gradient_report.py",
        "tests/test_gradcheck.py",
        ("self.problem and self.checked > 0", "self.problem"),
        ("if errors[-1] <= self.tolerance:", "if errors[-1] <= 100 * self.tolerance:"),
    ),
    *planted(
        "tinycnn/assign/grading.py",
        "tests/assign/test_grading.py",
        ("sandbox.left = test.seconds", "sandbox.left = 60.0"),
    ),
    *planted(
        "tinycnn/assign/sandbox.py",
        "tests/assign/test_sandbox.py",
        ("if _bytes_in(folder) > self._furnished + _MOST_ON_DISK:", "if False:"),
    ),
    *planted(
        "tinycnn/commands/assign.py",
        "tests/assign/test_command.py",
        ("return 1 if batch.failures else 0", "return 0"),
        ("return 0 if all(all(good) for good in counts.values()) else 1", "return 0"),
    ),
    *planted(
        "tinycnn/commands/doctor.py",
        "tests/test_cli.py",
        ("0 if report(print) else 1", "0 if report(print) else 0"),
    ),
    *planted(
        "tinycnn/cli.py",
        "tests/test_cli.py",
        ("return 128 + signal.SIGINT", "return 1"),
        ("        return 1\n\n\nclass _Parser", "        return 0\n\n\nclass _Parser"),
    ),
    *planted(
        "tinycnn/tensor.py",
        "tests/test_autograd.py tests/test_ownership.py tests/test_tensor.py",
        ("accumulated(self._grad, grad, owned)", "accumulated(self._grad, grad, True)"),
    ),
    *planted(
        "tinycnn/choice.py",
        "tests/test_grad_mode.py",
        (
            "cls.frames = ContextVar(cls.__name__, default=_Frame(default))",
            f"cls.frames = {_SHARED}([_Frame(default)])",
        ),
    ),
)
