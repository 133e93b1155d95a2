"""Public tests: the grader builds the net from the design, puts in what training found, and judges it itself."""

import numpy as np

import tinycnn as tc
from tinycnn.assign.testing import beside
from tinycnn.data import Glyphs

adapter = beside(__file__, "adapter.py")
MOST, WANTED = 10_000, 0.9


def build(check, design):
    """Build the net and check that it takes images of 16x16 and is small enough."""
    net = adapter.build(design).eval()
    check.equal(net(tc.Tensor(np.zeros((2, 1, 16, 16), np.float32))).shape, (2, 10), what="the output's shape")
    size = sum(p.size for p in net.parameters())
    check.true(size <= MOST, f"the net has {size:,} parameters, expected at most {MOST:,}")
    return net, size


def judge(student, rng, check, difficulty=1.0):
    """Return the share of unseen glyphs that the trained net knows, and its parameters."""
    seed, names = int(rng.integers(2**31)), rng.permutation(10)
    train = Glyphs("train", 16, count=3000, seed=seed)
    test = Glyphs("test", 16, count=1000, seed=seed, difficulty=difficulty)
    mean, std = train.images.mean(), train.images.std()
    images, unseen = (((data.images - mean) / std).astype(np.float32) for data in (train, test))
    design, state = student.trained(images, names[train.labels], seed)
    net, size = build(check, design)
    net.load_state_dict(state)
    with tc.no_grad():
        guesses = np.concatenate([net(tc.Tensor(part)).data.argmax(axis=1) for part in np.split(unseen, 4)])
    return float((guesses == names[test.labels]).mean()), size


def budget(student, rng, check):
    """The design can be built, has at most 10,000 parameters, and sees more of an image than its mean."""
    net, _ = build(check, student.outline())
    image = rng.normal(size=256)
    pair = np.stack([image, rng.permutation(image)]).reshape(2, 1, 16, 16).astype(np.float32)
    one, other = net(tc.Tensor(pair)).data
    check.true(np.abs(one - other).max() > 1e-5, "an image whose pixels are shuffled is the same to the net")


def accuracy(student, rng, check):
    """It knows 70, 80, 88, 93, 95 % of glyphs of unseen fonts, and 90 % with at most 8,000 and 6,000 parameters."""
    known, size = judge(student, rng, check)
    check.rank("accuracy", known)
    check.rank("parameters", size, "asc")
    for least in (0.7, 0.8, 0.88, 0.93, 0.95):
        with check.part():
            check.true(known >= least, f"{100 * known:.1f} % are known, expected {100 * least:.0f} %")
    for most in (8000, 6000):
        with check.part():
            check.true(known >= WANTED, f"{100 * known:.1f} % are known, expected {100 * WANTED:.0f} %")
            check.true(size <= most, f"{size:,} parameters, expected at most {most:,}")
