"""Vector code for largest magnitudes, found by comparing floating-point numbers as integers.

Without its sign bit, a larger float has a larger bit pattern; that of infinity is above all finite numbers, and that of
NaN above infinity. So an integer maximum sees every number that is not finite, and a difference of exponents is a
subtraction.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from tinycnn.kernels.cpu.machine.registers import LANES
from tinycnn.kernels.cpu.machine.simd_llvm import INDEX, Emitter, vector_code
from tinycnn.kernels.cpu.machine.simd_python import PLAIN_LOOPS


class _BitEmitter(Emitter):
    """An emitter for vectors of LANES floats that are read as integers."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: tuple) -> None:
        super().__init__(context, builder, signature, args)
        self.integer = ir.IntType(8 * self.bytes_of_scalar)
        self.integers = ir.VectorType(self.integer, LANES)

    def constant(self, number: int) -> Any:
        return ir.Constant(self.integers, [number] * LANES)

    def magnitudes(self, floats: Any) -> Any:
        """Return the bit patterns without their sign bits."""
        all_but_sign = self.constant(2 ** (self.integer.width - 1) - 1)
        return self.builder.and_(self.builder.bitcast(floats, self.integers), all_but_sign)

    def larger(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.icmp_signed(">", a, b), a, b)

    def reduce(self, vector: Any, combine: Any) -> Any:
        """Combine all elements of a vector into one, sign-extended to an index."""
        undefined, lanes = ir.Constant(self.integers, ir.Undefined), LANES
        while lanes > 1:
            lanes //= 2
            order = [i + lanes if i < lanes else i for i in range(LANES)]
            moved = self.builder.shuffle_vector(
                vector, undefined, ir.Constant(ir.VectorType(ir.IntType(32), LANES), order)
            )
            vector = combine(vector, moved)
        first = self.builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))
        return first if self.integer.width == 64 else self.builder.sext(first, INDEX)


def _emit_copy_peak(context, builder, signature, args):
    emit = _BitEmitter(context, builder, signature, args)
    source, target, count = emit.pointer(0, 1), emit.pointer(2, 3), args[4]

    def step(i, state):
        offset = builder.mul(i, emit.index(LANES))
        floats = emit.load(source, offset, emit.vector(LANES))
        emit.store(floats, target, offset)
        return [emit.larger(emit.magnitudes(floats), state[0])]

    (peaks,) = emit.loop(builder.sdiv(count, emit.index(LANES)), [emit.constant(0)], step)
    return emit.reduce(peaks, emit.larger)


def _emit_count_above(context, builder, signature, args):
    emit = _BitEmitter(context, builder, signature, args)
    source, count, limit = emit.pointer(0, 1), args[2], args[3]
    if emit.integer.width == 32:
        limit = builder.trunc(limit, emit.integer)
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    undefined = ir.Constant(emit.integers, ir.Undefined)
    first = builder.insert_element(undefined, limit, ir.Constant(ir.IntType(32), 0))
    limits = builder.shuffle_vector(first, undefined, zeros)

    def step(i, state):
        floats = emit.load(source, builder.mul(i, emit.index(LANES)), emit.vector(LANES))
        above = builder.icmp_signed(">", emit.magnitudes(floats), limits)
        return [builder.add(state[0], builder.zext(builder.ctpop(builder.bitcast(above, ir.IntType(LANES))), INDEX))]

    (total,) = emit.loop(builder.sdiv(count, emit.index(LANES)), [emit.index(0)], step)
    return total


copy_peak = vector_code(PLAIN_LOOPS["copy_peak"], _emit_copy_peak, types.intp)
count_above = vector_code(PLAIN_LOOPS["count_above"], _emit_count_above, types.intp)
