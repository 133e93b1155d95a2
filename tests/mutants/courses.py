"""Planted mistakes in assignments, lessons and their machinery, commands, and ranks."""

from tests.mutants.mutant import Mutant, planted

_ASSIGN = "tests/assign/"
_MACHINERY = "tests/lesson/test_machinery.py"
_PLAN = "tests/distributed/test_plan.py"

MUTANTS: tuple[Mutant, ...] = (
    # -- assignments
    *planted(
        "tinycnn/assign/grading.py",
        _ASSIGN + "test_grading.py",
        ("test.points * passed // parts", "-(-test.points * passed // parts)"),
        ("parts - len(check.failures) if whole else 0", "parts - len(check.failures)"),
        ('if r.kind != "manual" and not r.passed}', "if not r.passed}"),
        ("(assignment, self.student, test)", "(assignment, test)"),
    ),
    *planted(
        "tinycnn/assign/testing.py",
        _ASSIGN + "test_testing.py tests/assign/test_grading.py",
        ("_plain(got) == _plain(expected) and _kinds(got) == _kinds(expected)", "_plain(got) == _plain(expected)"),
        ("(error.text if public else error.brief), error.hint", "error.text, error.hint"),
        ("(values[0] - values[1]) / (2 * step)", "(values[0] - values[1]) / step"),
        ('if error.kind == "ValueError":', "if error.kind:"),
        ("abs(got - expected) == 1", "got - expected == 1"),
    ),
    *planted(
        "tinycnn/assign/wire.py",
        _ASSIGN + "test_wire.py",
        ("if end != len(message):", "if end > len(message):"),
        ('return {"tuple": parts} if isinstance(value, tuple) else parts', "return parts"),
        ("if length > limit:", "if False:"),
        ("or not all(type(n) is int and n >= 0 for n in shape)", "or not all(type(n) is int for n in shape)"),
    ),
    *planted(
        "tinycnn/assign/similarity.py",
        _ASSIGN + "test_similarity.py",
        ("if share >= least and len(shared) >= 3:", "if share > least and len(shared) >= 3:"),
        ("max(1, min(len(one), len(other)))", "max(1, max(len(one), len(other)))"),
        ("found.keys() - given for", "found.keys() - set() for"),
        ("sorted(found, key=lambda pair: -pair.share)", "sorted(found, key=lambda pair: pair.share)"),
    ),
    *planted(
        "tinycnn/assign/diagnosis.py",
        _ASSIGN + "test_diagnosis.py",
        ("math.isclose(factor, -1, rel_tol=1e-5)", "math.isclose(factor, -2, rel_tol=1e-5)"),
        ("if _same(np.flip(got, which), expected):", "if _same(got, np.flip(got, which)):"),
        ("'many' if off == {1} else 'few'", "'few' if off == {1} else 'many'"),
        ("math.isclose(factor, 1 / number, rel_tol=1e-5)", "math.isclose(factor, number, rel_tol=1e-5)"),
        ("elif _same(-difference, term):", "elif _same(difference, 2 * term):"),
    ),
    *planted(
        "tinycnn/assign/batch.py",
        _ASSIGN + "test_batch.py",
        ("_TRIES = 2", "_TRIES = 1"),
        ("return report if report.digest ==", "return report if report.digest !="),
        ("if len(found) != 1:", "if not found:"),
        ("path.chmod(0o600)", "path.chmod(0o644)"),
    ),
    *planted(
        "tinycnn/assign/sandbox.py",
        _ASSIGN + "test_sandbox.py",
        ("if max(asleep, used - before) > seconds", "if used - before > seconds"),
        ("self.left = max(0.0, seconds -", "self.left = max(seconds, seconds -"),
        ('reply.get("nonce") != nonce', "False"),
    ),
    *planted(
        "tinycnn/assign/reports/tables.py",
        _ASSIGN + "test_platforms.py tests/assign/test_batch.py",
        ('(("=", "+", "-", "@", "\\t", "\\r"))', '(("=", "+", "-", "\\t", "\\r"))'),
        ("failed = sum(not result.passed for", "failed = sum(result.passed for"),
        ('student.removeprefix("\'"), test] = int(points)', "student, test] = int(points)"),
    ),
    *planted(
        "tinycnn/assign/task.py",
        "tests/assign/test_grading.py tests/assign/test_batch.py",
        ('path.name.encode() + b"\\0" + path.read_bytes() + b"\\0"', "path.name.encode()"),
        ('if test.kind != "manual")\n', ")\n"),
        ("slow.pop(name, usual))", "usual)"),
    ),
    # -- the machinery of lessons
    *planted(
        "tinycnn/lesson/source.py",
        _MACHINERY,
        ("seconds = seconds or int(marker[2] or 0)", "seconds = int(marker[2] or 0)"),
        ('line[1:].removeprefix(" ")', "line[1:].strip()"),
        ("path.stem[:2] == wanted.zfill(2)", "path.stem[:2] == wanted"),
        ("line=cell.line + _blank(cell.source))", "line=cell.line)"),
    ),
    *planted(
        "tinycnn/lesson/markdown.py",
        _MACHINERY,
        ("    del lines[:1]\n", ""),
        ('re.split(r"(?<!\\\\)\\|"', 're.split(r"\\|"'),
        ('"ul" if lines[0][0] in "-*"', '"ul" if lines[0][0] in "*"'),
        ("text = escape(text, quote=False)", "text = text + ''"),
        ('text = _NO_BREAK.sub("", text)', "text = text + ''"),
    ),
    *planted(
        "tinycnn/lesson/highlight.py",
        _MACHINERY,
        ("row, column = token.end", "row, column = token.start"),
        ('tags[-1] != "</span>" else ""', "False else ''"),
    ),
    *planted(
        "tinycnn/lesson/formula.py",
        _MACHINERY,
        ("{x:.0f} {-y:.0f}", "{x:.0f} {y:.0f}"),
        ('aria-label="{escape(formula)}"', 'aria-label="{formula}"'),
    ),
    *planted(
        "tinycnn/lesson/notebook.py",
        _MACHINERY,
        ('if not out or out[-1]["output_type"] != "stream":', "if True:"),
        ("words.get(output.caption, output.caption)", "output.caption"),
    ),
    *planted(
        "tinycnn/lesson/execute.py",
        _MACHINERY,
        ('"\\n" * (cell.line - 1)', '"\\n" * cell.line'),
        ('recording.seconds = state["seconds"]', "recording.seconds = 0.0"),
    ),
    *planted(
        "tinycnn/lesson/experiment.py",
        "tests/lesson/test_experiments.py",
        ("kept += [_through_text(cell | row)", "kept = [_through_text(cell | row)"),
        ("last = {self._key(row): row for row in rows}", "last = {self._key(row): row for row in reversed(rows)}"),
        ('f"{value:.9g}"', 'f"{value:.2g}"'),
        ("(now - start) * (total - spent) / spent", "(now - start) * total / spent"),
        ("np.std(values):.2g", "np.std(values, ddof=1) if len(values) > 1 else 0:.2g"),
    ),
    *planted(
        "tinycnn/lesson/page.py",
        _MACHINERY,
        ("    if place:\n", "    if False:\n"),
        ("words.get(claim.text, claim.text)", "claim.text"),
    ),
    # -- claims and solutions of lessons
    *planted(
        "lessons/03_backward_convolution.py",
        "tests/lesson/test_lessons.py -k 03",
        ("dx[here] = keep * dx[here] + np.einsum(", "dx[here] = np.einsum("),
        ("waiting &= ~won | (not first)", "waiting &= ~won"),
    ),
    *planted(
        "lessons/05_small_kernels.py",
        "tests/lesson/test_lessons.py -k 05",
        (".data[..., ::-1, ::-1]", ".data"),
    ),
    *planted(
        "lessons/06_alexnet_audited.py",
        "tests/lesson/test_lessons.py -k 06",
        ("np.split(value, 2)[gpu]", "np.split(value, 2)[0]"),
    ),
    *planted(
        "lessons/08_half_two_three.py",
        "tests/lesson/test_lessons.py -k 08",
        ("q = scale**2 * (weight @ outputs.data**2)", "q = scale * (weight @ outputs.data**2)"),
    ),
    *planted(
        "lessons/14_fire.py",
        "tests/lesson/test_lessons.py -k 14",
        ("(32 if small else 128) * (number // 2)", "(32 if small else 128) * (number // 2 + 1)"),
    ),
    *planted(
        "lessons/16_why_small_travels.py",
        "tests/lesson/test_lessons.py -k 16",
        ("into + received if step < size - 1 else", "into + received if step < size else"),
    ),
    *planted(
        "lessons/assignments/A03_convolution/convolution.py",
        "tests/assign/test_assignments.py -k A3",
        ("top, left = i * stride[0], j * stride[1]", "top, left = i * stride[0], j * stride[0]"),
    ),
    *planted(
        "lessons/assignments/A04_convolution_backward/backward.py",
        "tests/assign/test_assignments.py -k A4",
        ("dpadded[:, :, rows : rows + height, columns", "dpadded[:, :, columns : columns + height, columns"),
    ),
    # -- commands
    *planted(
        "tinycnn/commands/inspect.py",
        "tests/test_cli.py",
        ("return 0 if report.passed else 1", "return 0"),
        ("seed=options.seed, raise_error", "seed=0, raise_error"),
        ("(1, 28, 28) if options.model", "(3, 28, 28) if options.model"),
        ("and model.maxpool is None", "and model.maxpool"),
    ),
    *planted(
        "tinycnn/commands/train.py",
        "tests/test_cli.py",
        ('if chosen.keys() - {"epochs"}:\n', "if False:\n"),
        ('128 + result["signal"]', "1"),
        ("if done >= settings.epochs and runs.is_complete(folder):", "if False:"),
        ('if "momentum" in chosen and', 'if False and "momentum" in chosen and'),
    ),
    *planted(
        "tinycnn/commands/evaluate.py",
        "tests/test_cli.py",
        ("100 * result.top5", "100 * result.accuracy"),
        ("np.argsort(-probabilities", "np.argsort(probabilities"),
        ("replace(runs.settings_of(extra), limit=None)", "runs.settings_of(extra)"),
    ),
    *planted(
        "tinycnn/commands/data.py",
        "tests/test_cli.py",
        ("if (root / name).is_dir() else", "if not (root / name).is_dir() else"),
    ),
    *planted(
        "tinycnn/commands/experiment.py",
        "tests/lesson/test_experiments.py",
        ("experiment.cells(options.fast or FAST, **given)", "experiment.cells(options.fast or FAST)"),
    ),
    *planted(
        "tinycnn/run_folders.py",
        "tests/test_cli.py",
        ("st_mtime)\n    if not runs", "st_mtime, reverse=True)\n    if not runs"),
        ('out / f"{name}-{number}"', "out / name"),
    ),
    # -- ranks
    *planted(
        "tinycnn/distributed/plan.py",
        _PLAN,
        ("2 * (nodes - 1) * link.latency", "(nodes - 1) * link.latency"),
        ("work.backward + link.processors * moving", "work.backward"),
        ("backward * done / total", "backward * (total - done) / total"),
    ),
    *planted(
        "tinycnn/distributed/parallel.py",
        "tests/distributed/test_parallel.py",
        (".wait() / communicator.size", ".wait()"),
        ("        self.missing = {id(p): p for p in self.parameters}\n\n\n", "        pass\n\n\n"),
        ("            module.communicator = communicator", "            pass"),
    ),
)
