"""Pairs of similar programs: fingerprints that renaming and rearranging do not change.

A program becomes a sequence of tokens in which every name is the same, and every number. All runs of ``K`` tokens are
hashed, and the smallest hash in every window of ``W`` is a fingerprint (winnowing; Schleimer, Wilkerson and Aiken
2003). The stub's fingerprints are common to all and are not counted. This finds pairs to read; it proves nothing.
"""

from __future__ import annotations

import io
import itertools
import keyword
import tokenize
import zlib
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass

K, W = 12, 6
_COMMON = 0.5  # a fingerprint that more than this share of all programs have is ignored; counts from 6 programs on
_COPY = 0.9  # above this overlap, common fingerprints count as well
_SKIPPED = (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)


@dataclass(frozen=True)
class Pair:
    """Two students, the share of the smaller program that the other has too, and lines that correspond."""

    one: str
    other: str
    share: float
    lines: tuple[tuple[int, int], ...]


def pairs(sources: dict[str, bytes], stub: str, least: float = 0.3) -> list[Pair]:
    """Return the pairs that share at least ``least``, the most similar first.

    Parameters
    ----------
    sources : dict
        Programs by student.
    stub : str
        The stub that students began with.
    least : float
        From 0 to 1.
    """
    given = fingerprints(stub.encode()).keys()
    prints = {name: fingerprints(source) for name, source in sorted(sources.items())}
    own = {name: found.keys() - given for name, found in prints.items()}
    spread = Counter(print_ for found in own.values() for print_ in found)
    common = {print_ for print_, count in spread.items() if len(sources) > 5 and count > _COMMON * len(sources)}
    found = []
    for one, other in itertools.combinations(own, 2):
        share, shared = _share(own[one], own[other])
        if share < _COPY:
            share, shared = _share(own[one] - common, own[other] - common)
        if share >= least and len(shared) >= 3:
            lines = sorted((prints[one][h], prints[other][h]) for h in shared)
            found.append(Pair(one, other, share, tuple(lines)))
    return sorted(found, key=lambda pair: -pair.share)


def _share(one: set[int], other: set[int]) -> tuple[float, set[int]]:
    """Return the common fingerprints as a share of the smaller program's."""
    shared = one & other
    return len(shared) / max(1, min(len(one), len(other))), shared


def fingerprints(source: bytes) -> dict[int, int]:
    """Return hashes, and the line where each is first.

    >>> fingerprints(b"f = [3 * x for x in xs if x > 1]") == fingerprints(b"g = [7*a for a in b if a > 2]  # mine")
    True
    """
    tokens = list(_tokens(source))
    hashes = [
        (zlib.crc32("\0".join(kind for kind, _ in tokens[start : start + K]).encode()), tokens[start][1])
        for start in range(len(tokens) - K + 1)
    ]
    window: deque[tuple[int, int]] = deque(maxlen=W)
    chosen: dict[int, int] = {}
    for entry in hashes:
        window.append(entry)
        if len(window) == min(W, len(hashes)):
            value, line = min(window)
            chosen.setdefault(value, line)
    return chosen


def _tokens(source: bytes) -> Iterator[tuple[str, int]]:
    """Return the type of each token, without its name or value, and its line; a broken file gives those before the
    error.
    """
    try:
        for token in tokenize.tokenize(io.BytesIO(source).readline):
            if token.type == tokenize.NAME:
                yield (token.string if keyword.iskeyword(token.string) else "name"), token.start[0]
            elif token.type in (tokenize.NUMBER, tokenize.STRING):
                yield tokenize.tok_name[token.type], token.start[0]
            elif token.type not in _SKIPPED:
                yield token.string, token.start[0]
    except (tokenize.TokenError, SyntaxError, ValueError):
        return


def spans(pair: Pair) -> str:
    """Return the lines of one that correspond to lines of the other, as short text."""
    runs: list[list[int]] = []
    for one, other in pair.lines:
        if runs and one - runs[-1][1] <= 3 and abs(other - runs[-1][3]) <= 3:
            runs[-1][1], runs[-1][3] = one, max(other, runs[-1][3])
        else:
            runs.append([one, one, other, other])
    longest = sorted(runs, key=lambda run: run[0] - run[1])[:5]
    return ", ".join(f"{a}-{b} = {c}-{d}" for a, b, c, d in sorted(longest))
