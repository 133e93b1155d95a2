"""Planted mistakes around the core: training, commands, figures, ranks, assignments, lessons."""

from tests.mutants.mutant import Mutant

_RANKS = "tests/distributed/test_processes.py tests/distributed/test_connections.py"

MUTANTS = tuple(
    Mutant(*row)
    for row in (
        # -- training and what it prints
        ("tinycnn/training", "if given != count:", "if False:", "tests/test_training.py"),
        (
            "tinycnn/training",
            'sums["right"] += int(self._right)',
            'sums["right"] = int(self._right)',
            "tests/test_training.py",
        ),
        (
            "tinycnn/training",
            'broken[-1].rpartition(".")[0] or broken[-1]',
            'broken[0].rpartition(".")[0] or broken[0]',
            "tests/test_training.py",
        ),
        (
            "tinycnn/layer_table.py",
            "return windows.span - 1, windows.stride",
            "return windows.span, windows.stride",
            "tests/test_summary.py",
        ),
        (
            "tinycnn/training_record.py",
            "return (square / max(array.size, 1)) ** 0.5",
            "return square**0.5",
            "tests/test_watch.py",
        ),
        ("tinycnn/training_record.py", "self.steps % self.every == 0", "True", "tests/test_watch.py"),
        ("tinycnn/random.py", "    self._streams += 1", "    self._streams += 0", "tests/ops tests/nn"),
        # -- ranks
        ("tinycnn/distributed/ring.py", "if step < size - 1:", "if step <= size - 1:", _RANKS),
        ("tinycnn/distributed/ring.py", "if other != own:", "if False:", _RANKS),
        ("tinycnn/distributed/ring.py", "self._compare_with_neighbour()\n            run()", "run()", _RANKS),
        ("tinycnn/distributed/communicator.py", '{array.shape} {array.dtype}"', '{array.size} {array.dtype}"', _RANKS),
        (
            "tinycnn/distributed/connections.py",
            "hmac.compare_digest(bytes(heard), self._token)",
            "len(heard) == len(self._token)",
            _RANKS,
        ),
        ("tinycnn/distributed/connections.py", "line.setblocking(False)", "line.setblocking(True)", _RANKS),
        (
            "tinycnn/distributed/processes.py",
            "if answers and running and now - answered > self.timeout:",
            "if False:",
            _RANKS,
        ),
        (
            "tinycnn/distributed/processes.py",
            "if now - heard[rank] > max(self.timeout, SHORTEST_SILENCE):",
            "if False:",
            _RANKS,
        ),
        ("tinycnn/distributed/processes.py", "            stream.flush()", "            pass", _RANKS),
        (
            "tinycnn/distributed/plan.py",
            "nbytes += 4 * row.parameters",
            "nbytes = 4 * row.parameters",
            "tests/distributed/test_plan.py",
        ),
        (
            "tinycnn/distributed/plan.py",
            "free = max(free, ready) + seconds",
            "free = ready + seconds",
            "tests/distributed/test_plan.py",
        ),
        (
            "tinycnn/distributed/parallel.py",
            "if group and parameter.dtype != group[0].dtype:",
            "if False:",
            "tests/distributed/test_parallel.py",
        ),
        # -- figures, graphs, the layer table, commands
        ("tinycnn/graph.py", "if not waiting[source]:", "if waiting[source] <= 1:", "tests/test_graph.py"),
        (
            "tinycnn/plotting.py",
            "limit = np.abs(kernels).max() or 1.0",
            "limit = np.abs(kernels).max()",
            "tests/test_plotting.py",
        ),
        (
            "tinycnn/layer_table.py",
            "return height if height == width else (height, width)",
            "return height",
            "tests/test_summary.py",
        ),
        (
            "tinycnn/layer_table.py",
            "tuple(n + extra * j for n, j,",
            "tuple(n + extra for n, j,",
            "tests/test_summary.py",
        ),
        (
            "tinycnn/cli.py",
            "return options.run(options) or 0",
            "return options.run(options) and 0",
            "tests/test_cli.py",
        ),
        (
            "tinycnn/commands/compress.py",
            '("epochs", 1 <= options.epochs <= 10**6,',
            '("epochs", 0 <= options.epochs <= 10**6,',
            "tests/test_cli.py tests/compression",
        ),
        ("tinycnn/commands/evaluate.py", "if test.images.shape[1] != channels:", "if False:", "tests/test_cli.py"),
        ("tinycnn/settings.py", "if value is None and optional:", "if value is None or optional:", "tests/test_cli.py"),
        ("tinycnn/streams.py", "return not self._gone and self._stream.isatty()", "return True", "tests/test_cli.py"),
        # -- assignments
        (
            "tinycnn/assign/testing.py",
            "off = ~(np.abs(array.astype(np.float64) - expected) <= allowed)",
            "off = ~(np.abs(array.astype(np.float64) - expected) <= 100 * allowed)",
            "tests/assign/test_grading.py tests/assign/test_assignments.py",
        ),
        (
            "tinycnn/assign/testing.py",
            "number = isinstance(got, (int, float)) and not isinstance(got, bool)",
            "number = isinstance(got, (int, float))",
            "tests/assign/test_grading.py",
        ),
        (
            "tinycnn/assign/wire.py",
            "        if end > len(message):",
            "        if end > len(message) + 1:",
            "tests/assign/test_wire.py",
        ),
        (
            "tinycnn/assign/master.py",
            "(inside.solution if inside.instead is None else inside.instead)",
            "inside.solution",
            "tests/assign/test_master.py",
        ),
        ("tinycnn/assign/submission.py", "if count > _MOST_FILES:", "if False:", "tests/assign/test_submission.py"),
        (
            "tinycnn/assign/task.py",
            "if total != FULL_MARKS or hidden > MOST_HIDDEN:",
            "if total != FULL_MARKS:",
            "tests/assign/test_grading.py tests/assign/test_master.py tests/assign/test_assignments.py",
        ),
        (
            "tinycnn/assign/similarity.py",
            "for start in range(len(tokens) - K + 1)",
            "for start in range(len(tokens) - K)",
            "tests/assign/test_similarity.py",
        ),
        (
            "tinycnn/assign/diagnosis.py",
            "if got.size > 1 and not np.any(got):",
            "if not np.any(got):",
            "tests/assign/test_diagnosis.py",
        ),
        ("tinycnn/assign/batch.py", "if len(secret) < 16:", "if len(secret) < 8:", "tests/assign/test_batch.py"),
        (
            "tinycnn/assign/release.py",
            "if out.exists() and (not out.is_dir() or any(out.iterdir())):",
            "if out.exists() and not out.is_dir():",
            "tests/assign/test_release.py",
        ),
        (
            "tinycnn/assign/reports/tables.py",
            "int(points) > most[test]:",
            "int(points) > 100:",
            "tests/assign/test_batch.py tests/assign/test_platforms.py",
        ),
        (
            "tinycnn/assign/reports/page.py",
            '(1 if entry["order"] == "asc" else -1)',
            "1",
            "tests/assign/test_platforms.py tests/assign/test_batch.py",
        ),
        # -- lessons
        (
            "tinycnn/lesson/source.py",
            'cells.append(Cell(marker[1] or "code", "", number + 1))',
            'cells.append(Cell(marker[1] or "code", "", number))',
            "tests/lesson/test_machinery.py",
        ),
        ("tinycnn/lesson/page.py", "if place + 1 < len(all_lessons):", "if False:", "tests/lesson/test_machinery.py"),
        (
            "tinycnn/lesson/report.py",
            'FAST = os.environ.get("TINYCNN_LESSON") == "fast"',
            "FAST = False",
            "tests/lesson/test_machinery.py",
        ),
        (
            "lessons/01_scalar_to_tensor.py",
            "        uses[source] += 1",
            "        uses[source] = 1",
            "tests/lesson/test_lessons.py -k 01",
        ),
        (
            "lessons/02_convolution_four_ways.py",
            "left = (count - 1 - row) * stride - padding",
            "left = (count - 1 - row) * stride",
            "tests/lesson/test_lessons.py -k 02",
        ),
        (
            "lessons/04_receptive_fields.py",
            "heat.sum(axis=0), heat.sum(axis=1)",
            "heat.sum(axis=0), heat.sum(axis=0) + 1",
            "tests/lesson/test_lessons.py -k 04",
        ),
        (
            "lessons/07_vgg.py",
            "head = sum(n * m + m for n, m in HEAD)",
            "head = sum(n * m for n, m in HEAD)",
            "tests/lesson/test_lessons.py -k 07",
        ),
        (
            "lessons/12_one_by_one.py",
            "change[kernel] = np.abs(plain[:, order] - moved).max()",
            "change[kernel] = np.abs(plain - moved).max()",
            "tests/lesson/test_lessons.py -k 12",
        ),
        (
            "lessons/19_the_same_kernel_on_a_gpu.py",
            "reads[row, column] += 2\n        c[row",
            "reads[row, column] = 2\n        c[row",
            "tests/lesson/test_lessons.py -k 19",
        ),
        (
            "lessons/11_inside_resnet.py",
            "gap = np.abs(sum(parts) - whole).max() / np.abs(whole).max()",
            "gap = np.abs(sum(parts[1:]) - whole).max() / np.abs(whole).max()",
            "tests/lesson/test_lessons.py -k 11",
        ),
        (
            "tinycnn/training",
            "confusion, (labels[known], predicted[known]), 1",
            "confusion, (predicted[known], labels[known]), 1",
            "tests/test_training.py",
        ),
        (
            "tinycnn/interrupts.py",
            "if flag.signal or not unsaved():",
            "if flag.signal:",
            "tests/test_training.py tests/test_kills.py tests/test_cli.py",
        ),
        ("tinycnn/graph.py", "[(tensor.grad_fn or tensor, 0)]", "[(tensor, 0)]", "tests/test_graph.py"),
        (
            "tinycnn/commands/compress.py",
            "0 < options.lr <= 1e6",
            "0 <= options.lr <= 1e6",
            "tests/test_cli.py tests/compression",
        ),
        (
            "tinycnn/commands/options.py",
            "if not (value > least or (inclusive and value == least)) or value > most:",
            "if not value >= least or value > most:",
            "tests/test_cli.py",
        ),
        (
            "tinycnn/commands/inspect.py",
            'classes = {} if options.classes is None else {"num_classes": options.classes}',
            "classes = {}",
            "tests/test_cli.py",
        ),
        (
            "tinycnn/assign/wire.py",
            "return message if len(message) == length else None",
            "return message",
            "tests/assign/test_wire.py",
        ),
        (
            "tinycnn/assign/testing.py",
            "moved[place] += sign * step",
            "moved[place] += step",
            "tests/assign/test_grading.py tests/assign/test_assignments.py",
        ),
        (
            "tinycnn/assign/master.py",
            'if len(line) >= _SHORTEST and not line.startswith("#")',
            'if not line.startswith("#")',
            "tests/assign/test_master.py tests/assign/test_similarity.py",
        ),
        (
            "tinycnn/assign/task.py",
            "if len({test.name for test in tests}) < len(tests):",
            "if False:",
            "tests/assign/test_grading.py tests/assign/test_master.py tests/assign/test_assignments.py",
        ),
        (
            "tinycnn/distributed/communicator.py",
            "if not array.flags.c_contiguous or not array.flags.writeable:",
            "if not array.flags.c_contiguous:",
            "tests/distributed/test_processes.py",
        ),
        (
            "tinycnn/lesson/source.py",
            'cells = tuple(cell if cell.kind == "code" else replace',
            'cells = tuple(cell if cell.kind != "code" else replace',
            "tests/lesson/test_machinery.py tests/lesson/test_lessons.py",
        ),
        (
            "lessons/08_half_two_three.py",
            "math.sqrt(q) * z, requires_grad=True",
            "q * z, requires_grad=True",
            "tests/lesson/test_lessons.py -k 08",
        ),
        (
            "lessons/13_global_average.py",
            "((16, True), (32, True), (32, False))",
            "((16, True), (32, True), (32, True))",
            "tests/lesson/test_lessons.py -k 13",
        ),
        (
            "lessons/14_fire.py",
            "(4 * table.parameters / 1e6,",
            "(8 * table.parameters / 1e6,",
            "tests/lesson/test_lessons.py -k 14",
        ),
        (
            "lessons/06_alexnet_audited.py",
            "np.concatenate(sides, axis=1)",
            "np.concatenate(sides[::-1], axis=1)",
            "tests/lesson/test_lessons.py -k 06",
        ),
        (
            "lessons/16_why_small_travels.py",
            "nn.Conv2d(1, 8, 3, bias=False), *([nn.BatchNorm2d(8)] if norm",
            "nn.Conv2d(1, 8, 3, bias=False), *([nn.BatchNorm2d(8)] if not norm",
            "tests/lesson/test_lessons.py -k 16",
        ),
    )
)
