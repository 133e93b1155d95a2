"""Hand a loop from one thread to the others without Python in between: each worker watches a mailbox.

To wake a sleeping thread, or to pass Python's global lock from one to another, takes longer than many a kernel. So a
worker watches a row of integers, its mailbox, in compiled code that does not hold the lock. The caller writes the
address of a function, the address of its packed arguments and the size of the loop there, then counts ``ASKED`` up;
the worker brings ``TAKEN`` up to that, calls the function, and brings ``DONE`` up to it.

Each thread has a share of the loop, and takes ``CHUNKS`` of it one by one, counting ``NEXT`` up. A thread that has
finished takes chunks from the shares of the others; and if a worker has not even begun by then, because it sleeps or
another program has its processor, the caller brings ``TAKEN`` up in its place. So the wait for a worker is at most as
long as a chunk.

A job lives inside one compiled call, from the claim of the mailboxes to the count of the last worker. That call holds
the arrays, the workspaces, the argument buffer and the mailboxes that the workers use, and Python runs the handlers of
signals before or after it: an exception can neither free memory that a worker writes to, nor leave mailboxes claimed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import compiler
from numba.core.targetconfig import ConfigStack
from numba.extending import intrinsic

from tinycnn.kernels.cpu.machine import fork as fork
from tinycnn.kernels.cpu.machine.compile import compiled_and_kept, inline

ASKED, TAKEN, DONE, ENTRY, DATA, COUNT, PARTS, FAILED = range(8)
NEXT = 8  # in a cache line of its own: all threads write there
CLAIMED = ASKED  # of the caller's own row: 1 while a job uses the mailboxes
MAILBOX_SIZE = 16  # integers of a mailbox, two cache lines: workers do not disturb each other
ARGUMENT_BUFFER_SIZE = 1024  # integers for the packed arguments of one kernel
SPINS = 2**21  # about half a millisecond
CHUNKS = 8  # of each share
ALIGNED, LINE = 2**12, 64  # loops over at least so many elements are cut at multiples of a line

_INT = ir.IntType(64)


def _emit_load(typing_context, numbers, index):
    """Emit ``numbers[index]``, read from memory each time, and nothing later is read before."""

    def emit(context: Any, builder: Any, signature: Any, args: tuple) -> Any:
        return builder.load_atomic(_element(context, builder, signature, args), "acquire", 8)

    return types.int64(numbers, types.intp), emit


def _emit_store(typing_context, numbers, index, value):
    """Emit ``numbers[index] = value``, and everything earlier is written before."""

    def emit(context: Any, builder: Any, signature: Any, args: tuple) -> Any:
        builder.store_atomic(args[2], _element(context, builder, signature, args), "release", 8)
        return context.get_dummy_value()

    return types.void(numbers, types.intp, types.int64), emit


def _emit_take(typing_context, numbers, index):
    """Emit ``numbers[index]``, which is counted up so that no other thread gets the same."""

    def emit(context: Any, builder: Any, signature: Any, args: tuple) -> Any:
        return builder.atomic_rmw("add", _element(context, builder, signature, args), _INT(1), "acq_rel")

    return types.int64(numbers, types.intp), emit


def _emit_claim(typing_context, numbers, index, old, new):
    """Emit a replacement of ``numbers[index]`` by ``new`` if it is ``old``; its value is True if it was."""

    def emit(context: Any, builder: Any, signature: Any, args: tuple) -> Any:
        element = _element(context, builder, signature, args)
        return builder.extract_value(builder.cmpxchg(element, args[2], args[3], "acq_rel", "acquire"), 1)

    return types.boolean(numbers, types.intp, types.int64, types.int64), emit


def _element(context: Any, builder: Any, signature: Any, args: tuple) -> Any:
    data = context.make_array(signature.args[0])(context, builder, args[0]).data
    return builder.gep(data, [args[1]])


def _packer(kernel: Callable, with_thread_id: bool) -> Any:
    """Return a function of compiled code ``(buffer, arguments)`` that writes the arguments into the buffer.

    It returns the addresses of a function that calls the kernel with them, and of them.
    """

    @intrinsic
    def pack(typing_context, buffer, arguments):
        inner = types.none(*[types.uint32] * (2 + with_thread_id), *arguments)

        def emit(context: Any, builder: Any, signature: Any, args: tuple) -> Any:
            descriptor = _compile_here(context, typing_context, kernel, inner)
            borrowed = args[1]
            for i, kind in enumerate(arguments):
                if isinstance(kind, types.Array):
                    array = _without_owner(context, builder, kind, builder.extract_value(borrowed, i))
                    borrowed = builder.insert_value(borrowed, array, i)
            if context.get_abi_sizeof(borrowed.type) > 8 * ARGUMENT_BUFFER_SIZE:
                raise ValueError(f"{kernel.__name__}: its arguments take more than {ARGUMENT_BUFFER_SIZE} integers")
            place = context.make_array(signature.args[0])(context, builder, args[0]).data
            builder.store(borrowed, builder.bitcast(place, borrowed.type.as_pointer()))
            entry = _entry(context, builder.module, descriptor, inner, borrowed.type, len(arguments))
            addresses = [builder.ptrtoint(pointer, _INT) for pointer in (entry, place)]
            return context.make_tuple(builder, signature.return_type, addresses)

        return types.UniTuple(types.int64, 2)(buffer, arguments), emit

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
    """Return the function ``(address of packed arguments, thread_id, begin, end)`` that calls the kernel.

    Its value is not 0 if that failed.
    """
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
    """Return an array without a reference count: the caller holds its memory until all threads have finished."""
    array = context.make_array(kind)(context, builder, value)
    array.meminfo, array.parent = (ir.Constant(field.type, None) for field in (array.meminfo, array.parent))
    return array._getvalue()


def _emit_call(typing_context, entry, data, thread_id, begin, end):
    """Emit a call of what a packer made; not 0 if the kernel raised an error."""

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
    """Return the beginning of part i of a loop."""
    start = count * i // parts
    return start if count < ALIGNED or i == parts else start // LINE * LINE


cut: Any = inline(_cut)


def _work(mailboxes, thread_id, entry, data, count, parts):
    """Run one thread's share, chunk by chunk, then chunks that the others have left; return how many failed."""
    failed = 0
    for turn in range(parts):
        owner = (thread_id + turn) % parts
        start = cut(count, owner, parts)
        size = cut(count, owner + 1, parts) - start
        chunks = min(CHUNKS, size)
        chunk = _take(mailboxes[owner], NEXT)
        while chunk < chunks:
            begin, end = start + cut(size, chunk, chunks), start + cut(size, chunk + 1, chunks)
            failed += _call(entry, data, thread_id, begin, end)
            chunk = _take(mailboxes[owner], NEXT)
    return failed


work: Any = inline(_work)


def _request(mailboxes, entry, data, count):
    """Ask all workers for a loop."""
    parts = mailboxes.shape[0]
    for i in range(parts):
        _store(mailboxes[i], NEXT, 0)
    for i in range(1, parts):
        box = mailboxes[i]
        box[ENTRY], box[DATA], box[COUNT], box[PARTS] = entry, data, count, parts
        _store(box, ASKED, box[ASKED] + 1)


def _finish(mailboxes):
    """Withdraw the request from workers that have not begun, wait for the others, and return how many chunks failed."""
    failed = 0
    for i in range(1, mailboxes.shape[0]):
        box = mailboxes[i]
        asked = box[ASKED]
        if _claim(box, TAKEN, asked - 1, asked):
            box[FAILED] = 0
            _store(box, DONE, asked)
    for i in range(1, mailboxes.shape[0]):
        box, spins = mailboxes[i], 0
        while _load(box, DONE) != box[ASKED]:
            spins += 1
            if spins > SPINS:
                give_way()
        failed += box[FAILED]
    return failed


def _serve(mailboxes, thread_id):
    """Do what is asked, until nothing has been asked for a while."""
    box, spins = mailboxes[thread_id], 0
    while spins < SPINS:
        spins += 1
        asked = _load(box, ASKED)
        if asked != _load(box, TAKEN) and _claim(box, TAKEN, asked - 1, asked):
            box[FAILED] = work(mailboxes, thread_id, box[ENTRY], box[DATA], box[COUNT], box[PARTS])
            _store(box, DONE, asked)
            spins = 0


def _stay():
    """Keep the processor."""
    return 0


# A thread that waits for long on a busy machine lets the others run.
give_way: Any = types.ExternalFunction("sched_yield", types.int32()) if os.name == "posix" else inline(_stay)
request: Any = inline(_request)
finish: Any = inline(_finish)
serve: Any = compiled_and_kept(_serve)


def launcher(kernel: Callable, fastmath: frozenset[str], with_thread_id: bool) -> Callable:
    """Return a function ``launch(mailboxes, buffer, count, *arguments)`` that runs a loop of a kernel.

    The calling thread owns the first mailbox, workers watch the others. Where another thread's job uses the mailboxes,
    the caller runs the loop alone. When the function returns, all threads have finished; it returns how many chunks
    failed.
    """
    pack = _packer(kernel, with_thread_id)

    def launch(mailboxes, buffer, count, *arguments):
        entry, data = pack(buffer, arguments)
        if mailboxes.shape[0] == 1 or not _claim(mailboxes[0], CLAIMED, 0, 1):
            return _call(entry, data, 0, 0, count)
        request(mailboxes, entry, data, count)
        failed = work(mailboxes, 0, entry, data, count, mailboxes.shape[0]) + finish(mailboxes)
        _store(mailboxes[0], CLAIMED, 0)
        return failed

    launch.__name__ = launch.__qualname__ = kernel.__qualname__
    return compiled_and_kept(launch, fastmath, kernel)
