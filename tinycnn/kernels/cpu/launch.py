"""From one thread to the others without Python in between: each worker waits at a letter box.

To wake a sleeping thread, or to pass Python's lock from one to another, costs more than many a kernel. So a worker
watches a row of integers, its box, in compiled code that does not hold the lock. Whoever has work writes there the
address of a function, the address of its packed arguments and how much there is to do, then counts ``ASKED`` up; the
worker brings ``TAKEN`` up to that, calls the function, and brings ``DONE`` up to it.

Each thread has a share of the work, and takes ``PIECES`` of it one by one, counting ``NEXT`` up. Whoever has finished
takes from the shares of the others; and if a worker has not even begun by then, since it slept or another program has
its processor, the caller brings ``TAKEN`` up in its place. So nobody is waited for longer than for a piece.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import compiler
from numba.core.targetconfig import ConfigStack
from numba.extending import intrinsic

from tinycnn.kernels.cpu._compile import compiled_and_kept, inline
from tinycnn.kernels.cpu.pool import ARENA

ASKED, TAKEN, DONE, ENTRY, DATA, COUNT, PARTS, FAILED = range(8)
NEXT = 8  # in a cache line of its own: all threads write there
SPINS = 2**22  # about a millisecond
PIECES = 8
ALIGNED, LINE = 2**12, 64  # loops over at least so many elements are cut at multiples of a line

_INT = ir.IntType(64)


def _emit_load(typing_context, numbers, index):
    """``numbers[index]``, read from memory each time, and nothing later is read before."""

    def emit(context: Any, builder: Any, signature: Any, args: tuple) -> Any:
        return builder.load_atomic(_element(context, builder, signature, args), "acquire", 8)

    return types.int64(numbers, types.intp), emit


def _emit_store(typing_context, numbers, index, value):
    """``numbers[index] = value``, and everything earlier is written before."""

    def emit(context: Any, builder: Any, signature: Any, args: tuple) -> Any:
        builder.store_atomic(args[2], _element(context, builder, signature, args), "release", 8)
        return context.get_dummy_value()

    return types.void(numbers, types.intp, types.int64), emit


def _emit_take(typing_context, numbers, index):
    """``numbers[index]``, which is counted up so that nobody else gets the same."""

    def emit(context: Any, builder: Any, signature: Any, args: tuple) -> Any:
        return builder.atomic_rmw("add", _element(context, builder, signature, args), _INT(1), "acq_rel")

    return types.int64(numbers, types.intp), emit


def _emit_claim(typing_context, box, number):
    """Bring ``TAKEN`` up to a request's number; whether nobody else had."""

    def emit(context: Any, builder: Any, signature: Any, args: tuple) -> Any:
        place = _element(context, builder, signature, (args[0], ir.Constant(_INT, TAKEN)))
        return builder.extract_value(
            builder.cmpxchg(place, builder.sub(args[1], _INT(1)), args[1], "acq_rel", "acquire"), 1
        )

    return types.boolean(box, types.int64), emit


def _element(context: Any, builder: Any, signature: Any, args: tuple) -> Any:
    data = context.make_array(signature.args[0])(context, builder, args[0]).data
    return builder.gep(data, [args[1]])


def _packer(kernel: Callable, with_lane: bool) -> Any:
    """A function of compiled code ``(arena, arguments)`` that writes the arguments into the arena.

    It returns the addresses of a function that calls the kernel with them, and of them.
    """

    @intrinsic
    def pack(typing_context, arena, arguments):
        inner = types.none(*[types.uint32] * (2 + with_lane), *arguments)

        def emit(context: Any, builder: Any, signature: Any, args: tuple) -> Any:
            descriptor = _compile_here(context, typing_context, kernel, inner)
            borrowed = args[1]
            for i, kind in enumerate(arguments):
                if isinstance(kind, types.Array):
                    array = _without_owner(context, builder, kind, builder.extract_value(borrowed, i))
                    borrowed = builder.insert_value(borrowed, array, i)
            if context.get_abi_sizeof(borrowed.type) > 8 * ARENA:
                raise ValueError(f"{kernel.__name__}: its arguments take more than {ARENA} integers")
            place = context.make_array(signature.args[0])(context, builder, args[0]).data
            builder.store(borrowed, builder.bitcast(place, borrowed.type.as_pointer()))
            entry = _entry(context, builder.module, descriptor, inner, borrowed.type, len(arguments))
            addresses = [builder.ptrtoint(pointer, _INT) for pointer in (entry, place)]
            return context.make_tuple(builder, signature.return_type, addresses)

        return types.UniTuple(types.int64, 2)(arena, arguments), emit

    return pack


def _compile_here(context: Any, typing_context: Any, kernel: Callable, signature: Any) -> Any:
    """Compile a kernel into the library that is being made: the optimiser then sees it once."""
    flags = ConfigStack().top().copy()
    flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    library = context.active_code_library
    result = compiler.compile_internal(
        typing_context, context, library, kernel, signature.args, signature.return_type, flags, {}
    )
    return result.fndesc


def _entry(context: Any, module: Any, kernel: Any, inner: Any, packed: Any, count: int) -> Any:
    """The function ``(address of packed arguments, lane, begin, end)`` that calls the kernel; not 0 if that failed."""
    entry = ir.Function(module, ir.FunctionType(_INT, [_INT] * 4), module.get_unique_name("entry"))
    entry.linkage = "internal"
    builder = ir.IRBuilder(entry.append_basic_block())
    values = builder.load(builder.inttoptr(entry.args[0], packed.as_pointer()))
    numbers = entry.args[1 + 3 - (len(inner.args) - count) :]
    arguments = [builder.trunc(number, ir.IntType(32)) for number in numbers]
    arguments += [builder.extract_value(values, i) for i in range(count)]
    status, _ = context.call_internal_no_propagate(builder, kernel, inner, arguments)
    builder.ret(builder.zext(status.is_error, _INT))
    return entry


def _without_owner(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """An array whose memory nobody counts: the caller keeps it until all have finished."""
    array = context.make_array(kind)(context, builder, value)
    array.meminfo, array.parent = (ir.Constant(field.type, None) for field in (array.meminfo, array.parent))
    return array._getvalue()


def _emit_call(typing_context, entry, data, lane, begin, end):
    """Call what a packer made; not 0 if the kernel raised an error."""

    def emit(context: Any, builder: Any, signature: Any, args: tuple) -> Any:
        function = builder.inttoptr(args[0], ir.FunctionType(_INT, [_INT] * 4).as_pointer())
        return builder.call(function, args[1:])

    return types.int64(*[types.int64] * 5), emit


_load: Any = intrinsic(_emit_load)
_store: Any = intrinsic(_emit_store)
_take: Any = intrinsic(_emit_take)
_claim: Any = intrinsic(_emit_claim)
_call: Any = intrinsic(_emit_call)


def _cut(count, i, parts):
    """Where part i of a piece of work begins."""
    at = count * i // parts
    return at if count < ALIGNED or i == parts else at // LINE * LINE


cut: Any = inline(_cut)


def _work(boxes, own, entry, data, count, parts):
    """One thread's share, piece by piece, and then what the others have left; how many pieces failed."""
    failed = 0
    for turn in range(parts):
        whose = (own + turn) % parts
        start = cut(count, whose, parts)
        size = cut(count, whose + 1, parts) - start
        pieces = min(PIECES, size)
        piece = _take(boxes[whose], NEXT)
        while piece < pieces:
            failed += _call(entry, data, own, start + cut(size, piece, pieces), start + cut(size, piece + 1, pieces))
            piece = _take(boxes[whose], NEXT)
    return failed


work: Any = inline(_work)


def _wait(boxes):
    """Wait until all have done what they were asked, for a while; how many failed, or -1 if somebody is still at it."""
    failed = 0
    for w in range(1, boxes.shape[0]):
        box, spins = boxes[w], 0
        while _load(box, DONE) != box[ASKED]:
            spins += 1
            if spins > SPINS:
                return -1
        failed += box[FAILED]
    return failed


def _serve(boxes, own):
    """Do what is asked, until nothing has been asked for a while."""
    box, spins = boxes[own], 0
    while spins < SPINS:
        spins += 1
        asked = _load(box, ASKED)
        if asked != _load(box, TAKEN) and _claim(box, asked):
            box[FAILED] = work(boxes, own, box[ENTRY], box[DATA], box[COUNT], box[PARTS])
            _store(box, DONE, asked)
            spins = 0


wait: Any = compiled_and_kept(_wait)
serve: Any = compiled_and_kept(_serve)


def launcher(kernel: Callable, fastmath: frozenset[str], with_lane: bool) -> Callable:
    """``launch(boxes, arena, count, *arguments)`` runs a kernel here and at all boxes but the first, which is its own.

    It returns what :func:`wait` does, and how many pieces failed here.
    """
    pack = _packer(kernel, with_lane)

    def launch(boxes, arena, count, *arguments):
        entry, data = pack(arena, arguments)
        parts = boxes.shape[0]
        if parts == 1:
            return 0, _call(entry, data, 0, 0, count)
        for w in range(parts):
            _store(boxes[w], NEXT, 0)
        for w in range(1, parts):
            box = boxes[w]
            box[ENTRY], box[DATA], box[COUNT], box[PARTS] = entry, data, count, parts
            _store(box, ASKED, box[ASKED] + 1)
        failed = work(boxes, 0, entry, data, count, parts)
        for w in range(1, parts):
            box = boxes[w]
            if _claim(box, box[ASKED]):
                box[FAILED] = 0
                _store(box, DONE, box[ASKED])
        return wait(boxes), failed

    launch.__name__ = launch.__qualname__ = kernel.__qualname__
    return compiled_and_kept(launch, fastmath, kernel)
