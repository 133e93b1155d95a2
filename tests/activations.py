"""One row for each activation function; the tests of each room take their cases from here."""

from typing import Any, NamedTuple


class Row(NamedTuple):
    """The layer (and operation) of an activation, options of its function, and numbers that its kernels take.

    ``variants`` has one tuple of numbers for each loop that they choose.
    """

    layer: str
    options: dict[str, Any] = {}  # noqa: RUF012 (never changed)
    variants: tuple[tuple[Any, ...], ...] = ((),)

    @property
    def numbers(self) -> tuple[Any, ...]:
        """Those of the first variant."""
        return self.variants[0]


ACTIVATIONS = {
    "relu": Row("ReLU"),
    "leaky_relu": Row("LeakyReLU", {"negative_slope": 0.2}, ((0.2,),)),
    "sigmoid": Row("Sigmoid"),
    "tanh": Row("Tanh"),
    "gelu": Row("GELU", {"approximate": "tanh"}, ((False,), (True,))),
}
