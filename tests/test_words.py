"""The sentences of sources and texts use the field's words, and docstrings begin as they should."""

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("tinycnn", "lessons", "tests", "benchmarks")
BANNED = {
    "letter box": "mailbox, work descriptor",
    "bell": "condition variable",
    "hire": "spawn",
    "arena": "argument buffer",
    "carray": "C-contiguous, as_contiguous",
    "flat_alike": "flatten_in_same_order",
    "sent_ahead": "prefetch_to_device",
    "read_later": "async copy to host",
    "is_alone": "owns_whole_buffer",
    "unshared": "uniquely owned",
    "lies channels last": "has NHWC strides",
    "made_of": "edges",
    "nudge": "finite difference",
    "he_start": "kaiming_init",
    "is no": "is not a",
    "whoever": "anyone who",
    "nobody": "no one",
}
# What the sentence may keep: "there is no file", "is no longer", "is no smaller", NumPy's own ``flags.carray``.
ALLOWED = re.compile(
    r"\bthere is no\b|\bis no (?:longer|less|more|smaller|larger|better|worse)\b|\bflags\.carray\b", re.I
)
WORDS = re.compile(rf"\b({'|'.join(map(re.escape, BANNED))})(?:e?s|d)?\b", re.I)


def sources() -> Iterator[Path]:
    """Yield the sources and texts in English, except this file."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*")):
            inside = path.relative_to(ROOT)
            if path.suffix in (".py", ".md") and "zh" not in inside.parts and path != Path(__file__):
                yield path
    yield ROOT / "README.md"
    yield ROOT / "CHANGELOG.md"


def banned_words(text: str) -> list[str]:
    """Return the banned words of a text, in lower case, in order; a word of a sentence may stand on two lines."""
    joined = re.sub(r"\s*\n\s*(?:#\s*)?", " ", text)
    return [word.lower() for word in WORDS.findall(ALLOWED.sub(" ", joined))]


def docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the docstring of a module and of everything that it defines, constants included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module):
            for target, text in itertools.pairwise(node.body):
                if isinstance(target, (ast.Assign, ast.AnnAssign)) and isinstance(text, ast.Expr):
                    yield ast.unparse(target).split(" ")[0], str(getattr(text.value, "value", ""))
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield getattr(node, "name", "module"), ast.get_docstring(node) or ""


def test_no_banned_word_comes_back():
    found = {str(path.relative_to(ROOT)): banned_words(path.read_text(encoding="utf-8")) for path in sources()}
    extra = [f"{file}: {word} (say: {BANNED[word]})" for file, words in found.items() for word in sorted(set(words))]
    assert extra == []


def test_no_docstring_is_a_noun_clause():
    wrong = [
        f"{path.relative_to(ROOT)}: {name}: {text.splitlines()[0]}"
        for path in sources()
        if path.suffix == ".py"
        for name, text in docstrings(path)
        if re.match(r"(?:What|Whether|Where|That)\b", text)
    ]
    assert wrong == [], 'begin with a verb, a noun, or "True if ..."'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("whoever holds it", ["whoever"]),
        ("# what nobody\n# needs is no\n# error", ["nobody", "is no"]),
        ("x.is_alone(); he_start(net)", ["is_alone", "he_start"]),
        ("two letter boxes; nudged; hires", ["letter box", "nudge", "hire"]),
        ("There is no file; it is no longer there; flags.carray", []),
        ("recarray, parena, made_of_steel, test_nobody_waits", []),
    ],
)
def test_the_test_finds_words(text, words):
    assert banned_words(text) == words
