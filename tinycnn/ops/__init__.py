"""The differentiable operations, and their place as operators and methods of :class:`~tinycnn.tensor.Tensor`."""

from __future__ import annotations

from tinycnn.ops import elementwise, matmul, reduction, shape
from tinycnn.tensor import Tensor

_METHODS = {
    "__add__": elementwise.add,
    "__radd__": elementwise.add,
    "__sub__": elementwise.sub,
    "__rsub__": elementwise.rsub,
    "__mul__": elementwise.mul,
    "__rmul__": elementwise.mul,
    "__truediv__": elementwise.div,
    "__rtruediv__": elementwise.rdiv,
    "__pow__": elementwise.pow,
    "__rpow__": elementwise.rpow,
    "__matmul__": matmul.matmul,
    "__rmatmul__": matmul.rmatmul,
    "__neg__": elementwise.neg,
    "__abs__": elementwise.abs,
    "__eq__": elementwise.eq,
    "__ne__": elementwise.ne,
    "__lt__": elementwise.lt,
    "__le__": elementwise.le,
    "__gt__": elementwise.gt,
    "__ge__": elementwise.ge,
    "__getitem__": shape.getitem,
    "_move": shape.move,
    "T": property(lambda x: shape.permute(x, *reversed(range(x.ndim)))),
}
for _name in (
    "add",
    "sub",
    "mul",
    "div",
    "pow",
    "neg",
    "exp",
    "log",
    "sqrt",
    "abs",
    "clip",
    "astype",
    "maximum",
):
    _METHODS[_name] = getattr(elementwise, _name)
for _name in ("sum", "mean", "var", "max", "argmax"):
    _METHODS[_name] = getattr(reduction, _name)
for _name in ("reshape", "flatten", "transpose", "permute", "broadcast_to"):
    _METHODS[_name] = getattr(shape, _name)
_METHODS["matmul"] = matmul.matmul

for _name, _method in _METHODS.items():
    setattr(Tensor, _name, _method)
