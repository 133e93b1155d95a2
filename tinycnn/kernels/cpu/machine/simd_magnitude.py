"""Largest magnitudes, found by comparing floating-point numbers as integers.

Without its sign bit, a larger float has a larger bit pattern, infinity one above all finite numbers, and NaN one above
infinity. So an integer maximum sees every number that is not finite, and a difference of exponents is a subtraction.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinycnn.kernels.cpu.machine.parallel import JIT_DISABLED
from tinycnn.kernels.cpu.machine.simd import INDEX, LANES, Emitter


class _BitEmitter(Emitter):
    """An emitter for vectors of LANES floats that are taken as integers."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: tuple) -> None:
        super().__init__(context, builder, signature, args)
        self.integer = ir.IntType(8 * self.bytes_of_scalar)
        self.integers = ir.VectorType(self.integer, LANES)

    def constant(self, number: int) -> Any:
        return ir.Constant(self.integers, [number] * LANES)

    def magnitudes(self, floats: Any) -> Any:
        """The bit patterns without their sign bits."""
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
        at = builder.mul(i, emit.index(LANES))
        floats = emit.load(source, at, emit.vector(LANES))
        emit.store(floats, target, at)
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


if JIT_DISABLED:

    def _magnitudes(numbers):
        return np.abs(numbers).view(np.int32 if numbers.itemsize == 4 else np.int64)

    def copy_peak(source, source_start, target, target_start, count):
        """Plain NumPy in place of the vector code."""
        numbers = source[source_start : source_start + count]
        target[target_start : target_start + count] = numbers
        return int(_magnitudes(numbers).max())

    def count_above(source, start, count, limit):
        """Plain NumPy in place of the vector code."""
        return int((_magnitudes(source[start : start + count]) > limit).sum())

else:

    @intrinsic
    def copy_peak(typing_context, source, source_start, target, target_start, count):
        """Copy ``count`` numbers, a positive multiple of LANES, and return the largest bit pattern among them."""
        n = types.intp
        return types.intp(source, n, target, n, n), _emit_copy_peak

    @intrinsic
    def count_above(typing_context, source, start, count, limit):
        """Return how many of ``count`` numbers, a positive multiple of LANES, have a bit pattern above ``limit``."""
        n = types.intp
        return types.intp(source, n, n, n), _emit_count_above
