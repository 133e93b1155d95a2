"""The micro-kernel as LLVM vector code (see :mod:`.simd`).

Each ``_emit`` function writes the instructions of one of the loops that :mod:`.simd_python` defines. A vector may be
wider than the registers of the processor: LLVM splits it.
"""

from __future__ import annotations

from inspect import Parameter, Signature, signature
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

from tinycnn.kernels.cpu.machine.matrix_program import ADD, SCALE, SUBTRACT, Matrix, Program, program_of
from tinycnn.kernels.cpu.machine.registers import ALIGNMENT, LANES, MAP_LANES, ROWS
from tinycnn.kernels.cpu.machine.simd_python import PLAIN_LOOPS

INDEX = ir.IntType(64)
_READ, _SOON, _DATA = 0, 2, 1  # llvm.prefetch: for reading, of moderate locality, data and not instructions


class Emitter:
    """Short names for the LLVM instructions of the kernels."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: tuple) -> None:
        self.context, self.builder, self.signature, self.args = context, builder, signature, args
        self.scalar = context.get_value_type(signature.args[0].dtype)

    def pointer(self, array: int, offset: int, inside: bool = True) -> Any:
        """Return the address of element ``args[offset]`` of the flat array ``args[array]``, ``inside`` it or not."""
        data = self.context.make_array(self.signature.args[array])(self.context, self.builder, self.args[array]).data
        return self.builder.gep(data, [self.args[offset]], inbounds=inside)

    def index(self, number: int) -> Any:
        """Return a constant of the type of indices."""
        return ir.Constant(INDEX, number)

    def load_index(self, pointer: Any, number: Any) -> Any:
        """Load element ``number`` of an array of int64."""
        offset = number if isinstance(number, ir.Value) else self.index(number)
        return self.builder.load(self.builder.gep(pointer, [offset]))

    def vector(self, lanes: int) -> Any:
        """Return the type of a vector."""
        return ir.VectorType(self.scalar, lanes)

    def load(self, pointer: Any, offset: Any, kind: Any) -> Any:
        """Load a scalar or a vector."""
        address = self.builder.bitcast(self.builder.gep(pointer, [offset]), kind.as_pointer())
        return self.builder.load(address, align=self.bytes_of_scalar)

    def store(self, value: Any, pointer: Any, offset: Any) -> None:
        """Store a scalar or a vector."""
        address = self.builder.bitcast(self.builder.gep(pointer, [offset]), value.type.as_pointer())
        self.builder.store(value, address, align=self.bytes_of_scalar)

    @property
    def bytes_of_scalar(self) -> int:
        """4 for float32, 8 for float64."""
        return 4 if isinstance(self.scalar, ir.FloatType) else 8

    def broadcast(self, value: Any, lanes: int) -> Any:
        """Return a vector with one value in all lanes."""
        kind = self.vector(lanes)
        undefined = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
        return self.builder.shuffle_vector(first, undefined, zeros)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """Return a * b + c, rounded once."""
        return self.builder.call(self._intrinsic("fma", a.type, 3), [a, b, c])

    def _intrinsic(self, name: str, kind: Any, operands: int) -> Any:
        letter = "f32" if self.bytes_of_scalar == 4 else "f64"
        full = f"llvm.{name}.v{kind.count}{letter}"
        known = self.builder.module.globals.get(full)
        return known or ir.Function(self.builder.module, ir.FunctionType(kind, [kind] * operands), name=full)

    def loop(self, count: Any, initial: list, body: Any) -> list:
        """Run ``body(i, values) -> values`` for i = 0 ... count-1, carrying values in registers; count >= 1."""
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
    function = get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")

    def line(i, state):
        target = builder.bitcast(builder.gep(start, [builder.mul(i, per_line)]), address)
        builder.call(function, [target, number(_READ), number(_SOON), number(_DATA)])
        return state

    lines = builder.sdiv(builder.add(count, builder.sub(per_line, emit.index(1))), per_line)
    emit.loop(lines, [], line)
    return context.get_dummy_value()


def _emit_fence(context, builder, signature, args):
    builder.fence("seq_cst")
    return context.get_dummy_value()


def _emit_correlate_tile(context, builder, signature, args):
    emit = Emitter(context, builder, signature, args)
    a, a_offsets, segments, b, bias, c = (emit.pointer(i, i + 1) for i in (0, 2, 4, 8, 10, 13))
    count, length, accumulate = args[6], args[7], args[12]
    c_offsets = emit.pointer(15, 16)
    kind = emit.vector(LANES)
    sources = [builder.gep(a, [emit.load_index(a_offsets, i)]) for i in range(ROWS)]
    targets = [builder.gep(c, [emit.load_index(c_offsets, i)]) for i in range(ROWS)]
    accumulates = builder.icmp_signed("!=", accumulate, emit.index(0))
    tile = [emit.load(builder.select(accumulates, target, bias), emit.index(0), kind) for target in targets]

    def segment(r, state):
        offset = emit.load_index(segments, r)
        starts = [builder.gep(source, [offset]) for source in sources]
        lines = builder.gep(b, [builder.mul(builder.mul(r, length), emit.index(LANES))])

        def step(k, tile):
            line = emit.load(lines, builder.mul(k, emit.index(LANES)), kind)
            return [
                emit.multiply_add(emit.broadcast(emit.load(start, k, emit.scalar), LANES), line, t)
                for start, t in zip(starts, tile)
            ]

        return emit.loop(length, state, step)

    for value, target in zip(emit.loop(count, tile, segment), targets):
        emit.store(value, target, emit.index(0))
    return context.get_dummy_value()


def _emit_tile_map(matrix: Matrix) -> Any:
    """Return an emitter of out = matrix @ tile @ matrix^T on MAP_LANES channels at once."""
    rows, size, program = len(matrix), len(matrix[0]), program_of(matrix)

    def emit_map(context, builder, signature, args):
        emit = Emitter(context, builder, signature, args)
        a, b = emit.pointer(0, 1), emit.pointer(5, 6)
        (a_row, a_step, a_next), (b_row, b_step, b_next), (count, tiles) = args[2:5], args[7:10], args[10:12]
        kind = emit.vector(MAP_LANES)

        def pointers(start, row, step, lines):
            numbers = [emit.index(i) for i in range(lines)]
            starts = [builder.gep(start, [builder.mul(row, i)]) for i in numbers]
            return [[builder.gep(line, [builder.mul(step, j)]) for j in numbers] for line in starts]

        sources, targets = pointers(a, a_row, a_step, size), pointers(b, b_row, b_step, rows)

        def tile(t, state):
            a_tile, b_tile = builder.mul(t, a_next), builder.mul(t, b_next)

            def step(c, state):
                first = builder.mul(c, emit.index(MAP_LANES))
                source, target = builder.add(a_tile, first), builder.add(b_tile, first)
                columns = []
                for j in range(size):
                    column = [emit.load(sources[i][j], source, kind) for i in range(size)]
                    columns.append(_emit_program(emit, program, column))
                for i in range(rows):
                    for j, value in enumerate(_emit_program(emit, program, [column[i] for column in columns])):
                        emit.store(value, targets[i][j], target)
                return state

            return emit.loop(builder.sdiv(count, emit.index(MAP_LANES)), state, step)

        emit.loop(tiles, [], tile)
        return context.get_dummy_value()

    return emit_map


def _emit_program(emit: Emitter, program: Program, inputs: list) -> list:
    """Emit the steps of a program on vectors, and return the product."""
    lines, builder, kind = list(inputs), emit.builder, inputs[0].type
    for operation, a, b, factor in program.steps:
        if operation == ADD:
            lines.append(builder.fadd(lines[a], lines[b]))
        elif operation == SUBTRACT:
            lines.append(builder.fsub(lines[a], lines[b]))
        else:
            constant = ir.Constant(kind, [factor] * kind.count)
            scaled = operation == SCALE
            lines.append(
                builder.fmul(lines[a], constant) if scaled else emit.multiply_add(constant, lines[a], lines[b])
            )
    return [lines[number] for number in program.results]


# -- what kernels call -------------------------------------------------------------------------------------------------


def vector_code(loop: Any, emit: Any, result: Any = types.void) -> Any:
    """Return a function for compiled code with the signature of a plain loop, which is emitted in its callers.

    Arrays keep their types, all other arguments become indices.
    """

    def define(typing_context: Any, *arguments: Any) -> tuple[Any, Any]:
        kinds = [argument if isinstance(argument, types.Array) else types.intp for argument in arguments]
        return result(*kinds), emit

    parameters = list(signature(loop).parameters.values())
    define.__signature__ = Signature([Parameter("typing_context", Parameter.POSITIONAL_OR_KEYWORD), *parameters])  # type: ignore[attr-defined]
    define.__name__, define.__doc__ = loop.__name__.lstrip("_"), loop.__doc__
    return intrinsic(define)


def tile_map(matrix: Matrix) -> Any:
    """Return ``apply(a, a_start, a_row, a_step, a_next, b, ..., count, tiles)``: b = matrix @ a @ matrix^T.

    See :func:`.simd_python.tile_map`.
    """

    def apply(a, a_start, a_row, a_step, a_next, b, b_start, b_row, b_step, b_next, count, tiles):
        """b = matrix @ a @ matrix^T, tile by tile."""

    return vector_code(apply, _emit_tile_map(matrix))


outer_tile = vector_code(PLAIN_LOOPS["outer_tile"], _emit_outer_tile)
stream_tile = vector_code(PLAIN_LOOPS["stream_tile"], _emit_stream_tile)
stream_end = vector_code(PLAIN_LOOPS["stream_end"], _emit_fence)
prefetch = vector_code(PLAIN_LOOPS["prefetch"], _emit_prefetch)
correlate_tile = vector_code(PLAIN_LOOPS["correlate_tile"], _emit_correlate_tile)
