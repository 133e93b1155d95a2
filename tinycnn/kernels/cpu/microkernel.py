"""The innermost loops of matrix products and convolutions, as LLVM vector code.

A processor reaches its peak only when operands stay in registers. Both kernels here hold a small tile of the result in
vector registers, and for each step of the inner dimension load a few vectors and issue many fused multiply-adds::

    multiply_tile   C (ROWS x LANES) += A^T B     A packed (depth, ROWS), B packed (depth, LANES)
                    one vector of B and ROWS broadcast scalars of A: ROWS multiply-adds for 1 load

    dot_tile        C (DOT_A x DOT_B) += A B^T    rows of A and B contiguous along the inner dimension
                    DOT_A + DOT_B vectors: DOT_A * DOT_B multiply-adds for DOT_A + DOT_B loads, summed across lanes last

Vectors are wider than some processors have: LLVM splits them. ``ROWS`` follows the number of vector registers: 16 with
AVX-512 (32 of 64 bytes), else 6 (16 of 32 bytes); ``DOT_A x DOT_B`` likewise 4 x 6, else 4 x 3. See Goto and van de
Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008), for why tiles of this form win.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinycnn.kernels.cpu._jit import JIT_DISABLED

_WIDE = bool(llvmlite.binding.get_host_cpu_features().get("avx512f", False))

LANES = 16
ROWS = 16 if _WIDE else 6
DOT_A, DOT_B = 4, 6 if _WIDE else 3
_DOT_BYTES = 64 if _WIDE else 32

_INDEX = ir.IntType(64)


class _Emitter:
    """Short names for the LLVM instructions that the two kernels are made of."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: tuple) -> None:
        self.context, self.builder, self.signature, self.args = context, builder, signature, args
        self.scalar = context.get_value_type(signature.args[0].dtype)

    def pointer(self, array: int, offset: int) -> Any:
        """Address of element ``args[offset]`` of the flat array ``args[array]``."""
        data = self.context.make_array(self.signature.args[array])(self.context, self.builder, self.args[array]).data
        return self.builder.gep(data, [self.args[offset]], inbounds=True)

    def index(self, number: int) -> Any:
        return ir.Constant(_INDEX, number)

    def vector(self, lanes: int) -> Any:
        return ir.VectorType(self.scalar, lanes)

    def load(self, pointer: Any, offset: Any, kind: Any) -> Any:
        address = self.builder.bitcast(self.builder.gep(pointer, [offset]), kind.as_pointer())
        return self.builder.load(address, align=self.bytes_of_scalar)

    def store(self, value: Any, pointer: Any, offset: Any) -> None:
        address = self.builder.bitcast(self.builder.gep(pointer, [offset]), value.type.as_pointer())
        self.builder.store(value, address, align=self.bytes_of_scalar)

    @property
    def bytes_of_scalar(self) -> int:
        return 4 if isinstance(self.scalar, ir.FloatType) else 8

    def broadcast(self, value: Any, lanes: int) -> Any:
        kind = self.vector(lanes)
        undefined = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
        return self.builder.shuffle_vector(first, undefined, zeros)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        return self.builder.call(self._intrinsic("fma", a.type, 3), [a, b, c])

    def _intrinsic(self, name: str, kind: Any, operands: int) -> Any:
        letter = "f32" if self.bytes_of_scalar == 4 else "f64"
        full = f"llvm.{name}.v{kind.count}{letter}"
        known = self.builder.module.globals.get(full)
        return known or ir.Function(self.builder.module, ir.FunctionType(kind, [kind] * operands), name=full)

    def sum_lanes(self, vector: Any) -> Any:
        """Add the lanes in halves: ((0 + n/2) + (n/4 + 3n/4)) ..."""
        while vector.type.count > 1:
            half = vector.type.count // 2
            parts = [
                self.builder.shuffle_vector(
                    vector,
                    ir.Constant(vector.type, ir.Undefined),
                    ir.Constant(ir.VectorType(ir.IntType(32), half), list(range(start, start + half))),
                )
                for start in (0, half)
            ]
            vector = self.builder.fadd(*parts)
        return self.builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))

    def loop(self, count: Any, initial: list, body: Any) -> list:
        """Run ``body(i, values) -> values`` for i = 0 ... count-1, carrying values in registers; count at least 1."""
        builder = self.builder
        before = builder.basic_block
        inside, after = builder.append_basic_block("tile"), builder.append_basic_block("tile.end")
        builder.branch(inside)
        builder.position_at_end(inside)
        counter = builder.phi(_INDEX)
        counter.add_incoming(self.index(0), before)
        carried = []
        for value in initial:
            phi = builder.phi(value.type)
            phi.add_incoming(value, before)
            carried.append(phi)
        results = body(counter, carried)
        following = builder.add(counter, self.index(1))
        counter.add_incoming(following, inside)
        for phi, value in zip(carried, results):
            phi.add_incoming(value, inside)
        builder.cbranch(builder.icmp_signed("<", following, count), inside, after)
        builder.position_at_end(after)
        return results


def _emit_multiply_tile(context, builder, signature, args):
    emit = _Emitter(context, builder, signature, args)
    a, b, c = emit.pointer(0, 1), emit.pointer(2, 3), emit.pointer(5, 6)
    depth, row_step = args[4], args[7]
    kind = emit.vector(LANES)
    rows = [builder.mul(row_step, emit.index(i)) for i in range(ROWS)]

    def step(k, tile):
        line = emit.load(b, builder.mul(k, emit.index(LANES)), kind)
        column = builder.mul(k, emit.index(ROWS))
        scalars = [emit.load(a, builder.add(column, emit.index(i)), emit.scalar) for i in range(ROWS)]
        return [emit.multiply_add(emit.broadcast(s, LANES), line, t) for s, t in zip(scalars, tile)]

    tile = emit.loop(depth, [emit.load(c, row, kind) for row in rows], step)
    for value, row in zip(tile, rows):
        emit.store(value, c, row)
    return context.get_dummy_value()


def _emit_dot_tile(context, builder, signature, args):
    emit = _Emitter(context, builder, signature, args)
    a, b, c = emit.pointer(0, 1), emit.pointer(3, 4), emit.pointer(7, 8)
    a_step, b_step, steps = args[2], args[5], args[6]
    lanes = _DOT_BYTES // emit.bytes_of_scalar
    kind = emit.vector(lanes)
    a_rows = [builder.mul(a_step, emit.index(i)) for i in range(DOT_A)]
    b_rows = [builder.mul(b_step, emit.index(j)) for j in range(DOT_B)]

    def step(s, tile):
        at = builder.mul(s, emit.index(lanes))
        left = [emit.load(a, builder.add(row, at), kind) for row in a_rows]
        right = [emit.load(b, builder.add(row, at), kind) for row in b_rows]
        pairs = [(x, y) for x in left for y in right]
        return [emit.multiply_add(x, y, t) for (x, y), t in zip(pairs, tile)]

    zero = ir.Constant(kind, [0.0] * lanes)
    tile = emit.loop(steps, [zero] * (DOT_A * DOT_B), step)
    for number, value in enumerate(tile):
        place = emit.index(number)
        total = builder.fadd(emit.load(c, place, emit.scalar), emit.sum_lanes(value))
        emit.store(total, c, place)
    return context.get_dummy_value()


def dot_lanes(dtype: Any) -> int:
    """How many elements one step of ``dot_tile`` takes: its rows must be padded to a multiple of it."""
    return _DOT_BYTES // np.dtype(dtype).itemsize


if JIT_DISABLED:

    def multiply_tile(a, a_start, b, b_start, depth, c, c_start, c_step):
        """Plain NumPy in place of the vector code: C += A^T B."""
        left = a[a_start : a_start + depth * ROWS].reshape(depth, ROWS)
        right = b[b_start : b_start + depth * LANES].reshape(depth, LANES)
        product = left.T @ right
        for i in range(ROWS):
            c[c_start + i * c_step : c_start + i * c_step + LANES] += product[i]

    def dot_tile(a, a_start, a_step, b, b_start, b_step, steps, c, c_start):
        """Plain NumPy in place of the vector code: C += A B^T."""
        length = steps * dot_lanes(a.dtype)
        for i in range(DOT_A):
            for j in range(DOT_B):
                left = a[a_start + i * a_step : a_start + i * a_step + length]
                c[c_start + i * DOT_B + j] += left @ b[b_start + j * b_step : b_start + j * b_step + length]

else:

    @intrinsic
    def multiply_tile(typing_context, a, a_start, b, b_start, depth, c, c_start, c_step):
        """C += A^T B: ``c[c_start + i c_step + j] += sum over k of a[k ROWS + i] b[k LANES + j]``."""
        n = types.intp
        return types.void(a, n, b, n, n, c, n, n), _emit_multiply_tile

    @intrinsic
    def dot_tile(typing_context, a, a_start, a_step, b, b_start, b_step, steps, c, c_start):
        """C += A B^T: ``c[c_start + i DOT_B + j] += sum over k of a[i a_step + k] b[j b_step + k]``."""
        n = types.intp
        return types.void(a, n, n, b, n, n, n, c, n), _emit_dot_tile
