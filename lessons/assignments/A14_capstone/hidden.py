"""Hidden tests."""

from tinycnn.assign.testing import beside

public = beside(__file__, "public.py")


def harder(student, rng, check):
    """Of glyphs that are more distorted than any in training it knows 55 and 70 %."""
    known, _ = public.judge(student, rng, check, 1.5)
    for least in (0.55, 0.7):
        with check.part():
            check.true(known >= least, f"{100 * known:.1f} % are known, expected {100 * least:.0f} %")
