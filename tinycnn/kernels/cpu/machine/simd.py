"""The innermost loops of matrix products and convolutions, as LLVM vector code.

A processor reaches its peak only when operands stay in registers. The two tiles here hold ROWS x LANES of the result in

    correlate_tile   C += A B      rows of A contiguous along k, anywhere in memory; B packed (k, LANES)
    outer_tile       C += A^T B    ROWS scalars of A and LANES of B contiguous for each k, one step apart along k
    stream_tile      C = A^T B     the same from zero, past the caches: for a C that is larger than they are

``tile_map`` multiplies small tiles with a constant matrix from both sides: the transforms of Winograd's convolution.
``prefetch`` asks the caches for what will be read or written soon, while there is something to compute.

Vectors are wider than some processors have: LLVM splits them. ``ROWS`` follows the registers: 8 with AVX-512, where a
row of the tile is one register and 8 hide the latency of an addition, else 6, of two registers each. See Goto and van
de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008), for why tiles of this form win.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tinycnn.kernels.cpu.machine.allocator import ALIGNMENT
from tinycnn.kernels.cpu.machine.parallel import JIT_DISABLED

_WIDE = bool(llvmlite.binding.get_host_cpu_features().get("avx512f", False))

LANES = 16
MAP_LANES = 16 if _WIDE else 8
ROWS = 8 if _WIDE else 6

INDEX = ir.IntType(64)
_READ, _SOON, _DATA = 0, 2, 1  # what llvm.prefetch takes: for what, how soon, and that it is not an instruction


class Emitter:
    """Short names for the LLVM instructions that the kernels are made of."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: tuple) -> None:
        self.context, self.builder, self.signature, self.args = context, builder, signature, args
        self.scalar = context.get_value_type(signature.args[0].dtype)

    def pointer(self, array: int, offset: int, inside: bool = True) -> Any:
        """Address of element ``args[offset]`` of the flat array ``args[array]``, be it ``inside`` or not."""
        data = self.context.make_array(self.signature.args[array])(self.context, self.builder, self.args[array]).data
        return self.builder.gep(data, [self.args[offset]], inbounds=inside)

    def index(self, number: int) -> Any:
        return ir.Constant(INDEX, number)

    def load_index(self, pointer: Any, number: Any) -> Any:
        """Element ``number`` of an array of int64."""
        offset = number if isinstance(number, ir.Value) else self.index(number)
        return self.builder.load(self.builder.gep(pointer, [offset]))

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

    def loop(self, count: Any, initial: list, body: Any) -> list:
        """Run ``body(i, values) -> values`` for i = 0 ... count-1, carrying values in registers; count at least 1."""
        builder = self.builder
        before = builder.basic_block
        inside, after = builder.append_basic_block("tile"), builder.append_basic_block("tile.end")
        builder.branch(inside)
        builder.position_at_end(inside)
        counter = builder.phi(INDEX)
        counter.add_incoming(self.index(0), before)
        carried = []
        for value in initial:
            phi = builder.phi(value.type)
            phi.add_incoming(value, before)
            carried.append(phi)
        results = body(counter, carried)
        following, end = builder.add(counter, self.index(1)), builder.basic_block
        counter.add_incoming(following, end)
        for phi, value in zip(carried, results):
            phi.add_incoming(value, end)
        builder.cbranch(builder.icmp_signed("<", following, count), inside, after)
        builder.position_at_end(after)
        return results


def _emit_outer_tile(context, builder, signature, args):
    emit = Emitter(context, builder, signature, args)
    a, b, c = emit.pointer(0, 1), emit.pointer(4, 5), emit.pointer(10, 11)
    (a_row, a_step), (b_row, b_step), (rows, length), c_step = args[2:4], args[6:8], args[8:10], args[12]
    kind = emit.vector(LANES)
    lines = [builder.mul(c_step, emit.index(i)) for i in range(ROWS)]

    def row(r, state):
        line_start = builder.gep(b, [builder.mul(r, b_row)])
        column_start = builder.gep(a, [builder.mul(r, a_row)])

        def step(p, tile):
            line = emit.load(line_start, builder.mul(p, b_step), kind)
            column = builder.mul(p, a_step)
            scalars = [emit.load(column_start, builder.add(column, emit.index(i)), emit.scalar) for i in range(ROWS)]
            return [emit.multiply_add(emit.broadcast(s, LANES), line, t) for s, t in zip(scalars, tile)]

        return emit.loop(length, state, step)

    tile = emit.loop(rows, [emit.load(c, line, kind) for line in lines], row)
    for value, line in zip(tile, lines):
        emit.store(value, c, line)
    return context.get_dummy_value()


def _emit_stream_tile(context, builder, signature, args):
    emit = Emitter(context, builder, signature, args)
    a, b, c = emit.pointer(0, 1), emit.pointer(2, 3), emit.pointer(5, 6)
    length, c_step = args[4], args[7]
    kind = emit.vector(LANES)

    def step(k, tile):
        line, column = emit.load(b, builder.mul(k, emit.index(LANES)), kind), builder.mul(k, emit.index(ROWS))
        scalars = [emit.load(a, builder.add(column, emit.index(i)), emit.scalar) for i in range(ROWS)]
        return [emit.multiply_add(emit.broadcast(s, LANES), line, t) for s, t in zip(scalars, tile)]

    tile = emit.loop(length, [ir.Constant(kind, [0] * LANES)] * ROWS, step)
    past_caches = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
    for i, value in enumerate(tile):
        address = builder.gep(c, [builder.mul(c_step, emit.index(i))])
        store = builder.store(value, builder.bitcast(address, kind.as_pointer()), align=ALIGNMENT)
        store.set_metadata("nontemporal", past_caches)
    return context.get_dummy_value()


def _emit_prefetch(context, builder, signature, args):
    emit = Emitter(context, builder, signature, args)
    start, count = emit.pointer(0, 1, inside=False), args[2]
    per_line = emit.index(ALIGNMENT // emit.bytes_of_scalar)
    address, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [address, number, number, number])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")

    def line(i, state):
        place = builder.bitcast(builder.gep(start, [builder.mul(i, per_line)]), address)
        builder.call(function, [place, number(_READ), number(_SOON), number(_DATA)])
        return state

    lines = builder.sdiv(builder.add(count, builder.sub(per_line, emit.index(1))), per_line)
    emit.loop(lines, [], line)
    return context.get_dummy_value()


def _emit_fence(context, builder, signature, args):
    builder.fence("seq_cst")
    return context.get_dummy_value()


def _emit_correlate_tile(context, builder, signature, args):
    emit = Emitter(context, builder, signature, args)
    a, a_at, pieces, b, bias, c = (emit.pointer(i, i + 1) for i in (0, 2, 4, 8, 10, 13))
    count, length, fresh = args[6], args[7], args[12]
    c_at = emit.pointer(15, 16)
    kind = emit.vector(LANES)
    sources = [builder.gep(a, [emit.load_index(a_at, i)]) for i in range(ROWS)]
    targets = [builder.gep(c, [emit.load_index(c_at, i)]) for i in range(ROWS)]
    is_fresh = builder.icmp_signed("!=", fresh, emit.index(0))
    tile = [emit.load(builder.select(is_fresh, bias, target), emit.index(0), kind) for target in targets]

    def piece(r, state):
        offset = emit.load_index(pieces, r)
        starts = [builder.gep(source, [offset]) for source in sources]
        lines = builder.gep(b, [builder.mul(builder.mul(r, length), emit.index(LANES))])

        def step(k, tile):
            line = emit.load(lines, builder.mul(k, emit.index(LANES)), kind)
            return [
                emit.multiply_add(emit.broadcast(emit.load(start, k, emit.scalar), LANES), line, t)
                for start, t in zip(starts, tile)
            ]

        return emit.loop(length, state, step)

    for value, target in zip(emit.loop(count, tile, piece), targets):
        emit.store(value, target, emit.index(0))
    return context.get_dummy_value()


def _emit_tile_map(matrix):
    """Code for out = matrix @ tile @ matrix^T on MAP_LANES channels at once; zeros of the matrix cost nothing."""
    rows, size = len(matrix), len(matrix[0])

    def emit_map(context, builder, signature, args):
        emit = Emitter(context, builder, signature, args)
        a, b = emit.pointer(0, 1), emit.pointer(5, 6)
        (a_row, a_step, a_next), (b_row, b_step, b_next), (count, tiles) = args[2:5], args[7:10], args[10:12]
        kind = emit.vector(MAP_LANES)

        def places(start, row, step, lines):
            numbers = [emit.index(i) for i in range(lines)]
            starts = [builder.gep(start, [builder.mul(row, i)]) for i in numbers]
            return [[builder.gep(line, [builder.mul(step, j)]) for j in numbers] for line in starts]

        sources, targets = places(a, a_row, a_step, size), places(b, b_row, b_step, rows)

        def tile(t, state):
            a_at, b_at = builder.mul(t, a_next), builder.mul(t, b_next)

            def step(c, state):
                first = builder.mul(c, emit.index(MAP_LANES))
                source, target = builder.add(a_at, first), builder.add(b_at, first)
                columns = []
                for j in range(size):
                    column = [emit.load(sources[i][j], source, kind) for i in range(size)]
                    columns.append(_product(emit, matrix, column))
                for i in range(rows):
                    for j, value in enumerate(_product(emit, matrix, [column[i] for column in columns])):
                        emit.store(value, targets[i][j], target)
                return state

            return emit.loop(builder.sdiv(count, emit.index(MAP_LANES)), state, step)

        emit.loop(tiles, [], tile)
        return context.get_dummy_value()

    return emit_map


def _product(emit, matrix, lines):
    """The lines of matrix @ lines. Rows that differ in signs only share their sums, columns their lines' sums."""
    matrix, lines = _fold_columns(emit, matrix, lines)
    results = {}
    for i, row in enumerate(matrix):
        mate = next((k for k in range(i + 1, len(matrix)) if k not in results and _is_mate(row, matrix[k])), None)
        if i in results:
            continue
        if mate is None:
            results[i] = _combination(emit, row, lines)
            continue
        same, opposite = (
            _combination(emit, [a if a == sign * b else 0 for a, b in zip(row, matrix[mate])], lines)
            for sign in (1, -1)
        )
        results[i], results[mate] = emit.builder.fadd(same, opposite), emit.builder.fsub(same, opposite)
    return [results[i] for i in range(len(matrix))]


def _fold_columns(emit, matrix, lines):
    """The same product by lines a + b and a - b, for two columns that differ in signs only."""
    columns, lines = [list(column) for column in zip(*matrix)], list(lines)
    for j in range(len(columns)):
        for k in range(j + 1, len(columns)):
            if _is_mate(columns[j], columns[k]):
                pairs = list(zip(columns[j], columns[k]))
                columns[j], columns[k] = ([a if a == sign * b else 0 for a, b in pairs] for sign in (1, -1))
                lines[j], lines[k] = emit.builder.fadd(lines[j], lines[k]), emit.builder.fsub(lines[j], lines[k])
    return list(zip(*columns)), lines


def _is_mate(a, b):
    """Whether two lists of coefficients agree in some of their numbers, and in the others but for the sign."""
    return all(abs(x) == abs(y) for x, y in zip(a, b)) and any(x == y != 0 for x, y in zip(a, b)) and a != b


def _combination(emit, coefficients, lines):
    """The sum of coefficient * line; additions of a line itself come first."""
    terms = sorted(((k, line) for k, line in zip(coefficients, lines) if k), key=lambda term: term[0] != 1)
    kind = lines[0].type
    (first, total), rest = terms[0], terms[1:]
    if first != 1:
        total = emit.builder.fmul(total, ir.Constant(kind, [first] * kind.count))
    for k, line in rest:
        if abs(k) == 1:
            total = (emit.builder.fadd if k > 0 else emit.builder.fsub)(total, line)
        else:
            total = emit.multiply_add(ir.Constant(kind, [k] * kind.count), line, total)
    return total


if JIT_DISABLED:

    def outer_tile(a, a_start, a_row, a_step, b, b_start, b_row, b_step, rows, length, c, c_start, c_step):
        """Plain NumPy in place of the vector code: C += A^T B."""
        for r in range(rows):
            for p in range(length):
                at, line = a_start + r * a_row + p * a_step, b_start + r * b_row + p * b_step
                for i in range(ROWS):
                    c[c_start + i * c_step :][:LANES] += a[at + i] * b[line : line + LANES]

    def stream_tile(a, a_start, b, b_start, length, c, c_start, c_step):
        """Plain NumPy in place of the vector code: C = A^T B."""
        columns = a[a_start : a_start + length * ROWS].reshape(length, ROWS)
        tile = columns.T @ b[b_start : b_start + length * LANES].reshape(length, LANES)
        for i in range(ROWS):
            c[c_start + i * c_step :][:LANES] = tile[i]

    def stream_end():
        """Nothing to wait for."""

    def prefetch(array, start, count):
        """Nothing to ask for."""

    def correlate_tile(
        a,
        a_start,
        a_at,
        pixel,
        pieces,
        first,
        count,
        length,
        b,
        b_start,
        bias,
        bias_start,
        fresh,
        c,
        c_start,
        c_at,
        place,
    ):
        """Plain NumPy in place of the vector code: C = bias + A B, or C += A B."""
        for i in range(ROWS):
            target = c[c_start + c_at[place + i] :][:LANES]
            total = (bias[bias_start : bias_start + LANES] if fresh else target).copy()
            for r in range(count):
                run = a[a_start + a_at[pixel + i] + pieces[first + r] :][:length]
                total += run @ b[b_start + r * length * LANES :][: length * LANES].reshape(length, LANES)
            target[:] = total

    def tile_map(matrix):
        """Plain NumPy in place of the vector code: out = matrix @ tile @ matrix^T."""
        weights = np.array(matrix)

        def apply(a, a_start, a_row, a_step, a_next, b, b_start, b_row, b_step, b_next, count, tiles):
            rows, size = weights.shape
            for t in range(tiles):
                source, target = a_start + t * a_next, b_start + t * b_next
                lines = [[a[source + i * a_row + j * a_step :][:count] for j in range(size)] for i in range(size)]
                result = np.einsum("pi,ijk,qj->pqk", weights, np.array(lines), weights).astype(a.dtype)
                for i in range(rows):
                    for j in range(rows):
                        b[target + i * b_row + j * b_step :][:count] = result[i, j]

        return apply

else:

    def tile_map(matrix):
        """A function ``(a, a_start, a_row, a_step, a_next, b, ..., count, tiles)``: b = matrix @ a @ matrix^T.

        Element (i, j) of tile t of ``a`` is the ``count`` numbers from ``a_start + i a_row + j a_step + t a_next`` on,
        likewise of ``b``; ``count`` is a multiple of MAP_LANES, and there is at least one tile.
        """

        @intrinsic
        def apply(
            typing_context, a, a_start, a_row, a_step, a_next, b, b_start, b_row, b_step, b_next, count, tiles
        ):  # fmt: skip
            n = types.intp
            return types.void(a, n, n, n, n, b, n, n, n, n, n, n), _emit_tile_map(matrix)

        return apply

    @intrinsic
    def outer_tile(
        typing_context, a, a_start, a_row, a_step, b, b_start, b_row, b_step, rows, length, c, c_start, c_step
    ):
        """C += A^T B, a sum of outer products over ``rows`` rows of ``length`` pixels.

        ``c[c_start + i c_step + j] += sum over r, p of``
        ``a[a_start + r a_row + p a_step + i] b[b_start + r b_row + p b_step + j]``
        """
        n = types.intp
        return types.void(a, n, n, n, b, n, n, n, n, n, c, n, n), _emit_outer_tile

    @intrinsic
    def stream_tile(typing_context, a, a_start, b, b_start, length, c, c_start, c_step):
        """C = A^T B from packed panels, written past the caches; lines of C begin at a multiple of ALIGNMENT bytes.

        ``c[c_start + i c_step + j] = sum over k of a[a_start + k ROWS + i] b[b_start + k LANES + j]``
        """
        n = types.intp
        return types.void(a, n, b, n, n, c, n, n), _emit_stream_tile

    @intrinsic
    def stream_end(typing_context):
        """Wait until what was streamed can be seen by other threads."""
        return types.void(), _emit_fence

    @intrinsic
    def prefetch(typing_context, array, start, count):
        """Ask the caches for the lines in which ``count`` numbers from ``array[start]`` on lie; none need be there."""
        n = types.intp
        return types.void(array, n, n), _emit_prefetch

    @intrinsic
    def correlate_tile(
        typing_context,
        a, a_start, a_at, pixel, pieces, first, count, length, b, b_start, bias, bias_start, fresh, c, c_start, c_at,
        place,
    ):  # fmt: skip
        """C = bias + A B (``fresh``), or C += A B, for ROWS pixels and LANES output channels.

        Pixel i reads ``count`` runs of ``length`` numbers, run r at
        ``a[a_start + a_at[pixel + i] + pieces[first + r]]``, and writes LANES numbers at
        ``c[c_start + c_at[place + i]]``; ``b[b_start:]`` holds LANES numbers for each k.
        """
        n = types.intp
        return types.void(a, n, a_at, n, pieces, n, n, n, b, n, bias, n, n, c, n, c_at, n), _emit_correlate_tile
