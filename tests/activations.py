"""One row for each activation function; the tests of each room take their cases from here."""

from typing import Any, NamedTuple


class Row(NamedTuple):
    """The layer (and operation) of an activation, options of its function, and the numbers that its kernels take."""

    layer: str
    options: dict[str, Any] = {}  # noqa: RUF012 (never changed)
    numbers: tuple[Any, ...] = ()


ACTIVATIONS = {
    "relu": Row("ReLU"),
    "leaky_relu": Row("LeakyReLU", {"negative_slope": 0.2}, (0.2,)),
    "sigmoid": Row("Sigmoid"),
    "tanh": Row("Tanh"),
    "gelu": Row("GELU", {"approximate": "tanh"}, (False,)),
}
