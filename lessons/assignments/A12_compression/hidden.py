"""Hidden tests."""

from tinycnn.assign.testing import beside

public = beside(__file__, "public.py")


def sparse(student, rng, check):
    """A layer of which so little stays that gaps are longer than a byte counts."""
    weights = public.layer(rng, 30000)
    data = student.encoded(weights, 0.002, 8)
    public.compare_decoded(check, public.fresh(student, check, data), weights, 0.002)


def dense(student, rng, check):
    """A layer that is not pruned at all, with few values, is a code of those values."""
    weights = public.layer(rng, 3000)
    data = student.encoded(weights, 1.0, 32)
    public.compare_decoded(check, public.fresh(student, check, data), weights, 1.0)
    check.true(len(data) < 2200, f"{len(data)} bytes for 3,000 weights of 32 values")


def ratio(student, rng, check):
    """A layer of 60,000 weights, 8 % of them kept with 16 values, takes a thirtieth of its bytes."""
    weights = public.layer(rng, 60000)
    data = student.encoded(weights, 0.08, 16)
    public.compare_decoded(check, public.fresh(student, check, data), weights, 0.08)
    check.true(30 * len(data) <= weights.nbytes, f"a ratio of {weights.nbytes / len(data):.1f}, expected at least 30")
    check.rank("bytes", len(data), "asc")
