"""A MemoryError that names the layer in which it arose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinycnn.tensor import Tensor

if TYPE_CHECKING:
    from tinycnn.nn.module import Module


class LayerMemoryError(MemoryError):
    """A MemoryError with the path of its layer; each module around the layer adds its name to the path."""

    def __init__(self, said: str, layer: Module, inputs: tuple) -> None:
        self.said, self.layer, self.path = said, layer, ""
        self.sizes = ", ".join(str(x.shape) for x in inputs if isinstance(x, Tensor))

    @classmethod
    def of(cls, error: MemoryError, module: Module, inputs: tuple) -> LayerMemoryError:
        """Return the error that the caller of ``module`` shall see."""
        located = error if isinstance(error, cls) else cls(str(error), module, inputs)
        located.path = next((path for path, inner in module.named_modules() if inner is located.layer), "")
        return located

    def __str__(self) -> str:
        place = f"layer {self.path} ({self.layer})" if self.path else str(self.layer)
        return f"{self.said}, in {place} on input {self.sizes}"
