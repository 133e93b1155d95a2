"""How a loop is handed to other threads without Python in between: each worker watches a mailbox.

Waking a thread that sleeps, or passing Python's global lock from one thread to another, takes longer than many kernels.
So a worker watches a row of integers, its mailbox, in compiled code that does not hold the lock. The caller writes the
address of a function, the address of its packed arguments and the size of the loop there, then increments
``REQUESTED``. The worker sets ``CLAIMED`` to that number, calls the function, and sets ``DONE`` to it.

Each thread has a part of the loop and runs it in chunks, counting ``NEXT_CHUNK`` up. A thread that has finished its
part takes chunks from the parts of the others. If a worker has not even begun by then, because it sleeps or another
program has its processor, the caller sets ``CLAIMED`` in its place. So the caller waits for a worker no longer than a
chunk takes.

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
from numba.core.compiler import compile_internal
from numba.core.targetconfig import ConfigStack
from numba.extending import intrinsic

from tinycnn.kernels.cpu.machine import fork as fork
from tinycnn.kernels.cpu.machine.compile import compiled_and_kept, helper
from tinycnn.kernels.cpu.machine.tasks import cut
from tinycnn.kernels.cpu.machine.tuning import CHUNKS_PER_THREAD, SPINS

REQUESTED, CLAIMED, DONE, ENTRY, DATA, COUNT, PARTS, FAILED = range(8)
NEXT_CHUNK = 8  # in a cache line of its own: all threads write there
BUSY = REQUESTED  # of the caller's own row: 1 while a job uses the mailboxes
MAILBOX_SIZE = 16  # integers of a mailbox, two cache lines: workers do not disturb each other
ARGUMENT_BUFFER_SIZE = 1024  # integers for the packed arguments of one kernel

_INT = ir.IntType(64)


def _emit_load(typing_context, numbers, index):
    """Emit ``numbers[index]``, read from memory each time and before everything that follows."""

    def emit(context: Any, builder: Any, signature: Any, args: tuple) -> Any:
        return builder.load_atomic(_element(context, builder, signature, args), "acquire", 8)

    return types.int64(numbers, types.intp), emit


def _emit_store(typing_context, numbers, index, value):
    """Emit ``numbers[index] = value``, written after everything that precedes."""

    def emit(context: Any, builder: Any, signature: Any, args: tuple) -> Any:
        builder.store_atomic(args[2], _element(context, builder, signature, args), "release", 8)
        return context.get_dummy_value()

    return types.void(numbers, types.intp, types.int64), emit


def _emit_increment(typing_context, numbers, index):
    """Emit ``numbers[index]``, and increment it at once: no other thread gets the same number."""

    def emit(context: Any, builder: Any, signature: Any, args: tuple) -> Any:
        return builder.atomic_rmw("add", _element(context, builder, signature, args), _INT(1), "acq_rel")

    return types.int64(numbers, types.intp), emit


def _emit_compare_and_swap(typing_context, numbers, index, old, new):
    """Emit a replacement of ``numbers[index]`` by ``new`` if it is ``old``. The value is True if it was."""

    def emit(context: Any, builder: Any, signature: Any, args: tuple) -> Any:
        element = _element(context, builder, signature, args)
        return builder.extract_value(builder.cmpxchg(element, args[2], args[3], "acq_rel", "acquire"), 1)

    return types.boolean(numbers, types.intp, types.int64, types.int64), emit


def _element(context: Any, builder: Any, signature: Any, args: tuple) -> Any:
    data = context.make_array(signature.args[0])(context, builder, args[0]).data
    return builder.gep(data, [args[1]])


def _packer(kernel: Callable, with_thread_id: bool) -> Any:
    """Return a function ``(buffer, arguments)`` for compiled code that copies the arguments into the argument buffer.

    It returns two addresses: of a function that calls the kernel with them, and of the arguments.
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
            address = context.make_array(signature.args[0])(context, builder, args[0]).data
            builder.store(borrowed, builder.bitcast(address, borrowed.type.as_pointer()))
            entry = _entry(context, builder.module, descriptor, inner, borrowed.type, len(arguments))
            addresses = [builder.ptrtoint(pointer, _INT) for pointer in (entry, address)]
            return context.make_tuple(builder, signature.return_type, addresses)

        return types.UniTuple(types.int64, 2)(buffer, arguments), emit

    return pack


def _compile_here(context: Any, typing_context: Any, kernel: Callable, signature: Any) -> Any:
    """Compile a kernel into the library that is being compiled, so that LLVM optimises it once."""
    flags = ConfigStack().top().copy()
    flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    library = context.active_code_library
    result = compile_internal(
        typing_context, context, library, kernel, signature.args, signature.return_type, flags, {}
    )
    return result.fndesc


def _entry(context: Any, module: Any, kernel: Any, inner: Any, packed: Any, count: int) -> Any:
    """Return the function ``(address of packed arguments, thread_id, begin, end)`` that calls the kernel.

    It returns 0, or another number if the kernel raised an error.
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
    """Drop the reference count of an array: the caller holds its memory until all threads have finished."""
    array = context.make_array(kind)(context, builder, value)
    array.meminfo, array.parent = (ir.Constant(field.type, None) for field in (array.meminfo, array.parent))
    return array._getvalue()


def _emit_call(typing_context, entry, data, thread_id, begin, end):
    """Emit a call of the function that a packer made. The value is not 0 if the kernel raised an error."""

    def emit(context: Any, builder: Any, signature: Any, args: tuple) -> Any:
        function = builder.inttoptr(args[0], ir.FunctionType(_INT, [_INT] * 4).as_pointer())
        return builder.call(function, args[1:])

    return types.int64(*[types.int64] * 5), emit


atomic_load: Any = intrinsic(_emit_load)
atomic_store: Any = intrinsic(_emit_store)
atomic_increment: Any = intrinsic(_emit_increment)
compare_and_swap: Any = intrinsic(_emit_compare_and_swap)
call_entry: Any = intrinsic(_emit_call)


def _work(mailboxes, thread_id, entry, data, count, parts):
    """Run one thread's part chunk by chunk, then chunks that the others have left. Return how many failed."""
    failed = 0
    for turn in range(parts):
        owner = (thread_id + turn) % parts
        start = cut(count, owner, parts)
        size = cut(count, owner + 1, parts) - start
        chunks = min(CHUNKS_PER_THREAD, size)
        chunk = atomic_increment(mailboxes[owner], NEXT_CHUNK)
        while chunk < chunks:
            begin, end = start + cut(size, chunk, chunks), start + cut(size, chunk + 1, chunks)
            failed += call_entry(entry, data, thread_id, begin, end)
            chunk = atomic_increment(mailboxes[owner], NEXT_CHUNK)
    return failed


work: Any = helper(_work)


def _request(mailboxes, entry, data, count):
    """Write a job into the mailboxes of all workers."""
    parts = mailboxes.shape[0]
    for i in range(parts):
        atomic_store(mailboxes[i], NEXT_CHUNK, 0)
    for i in range(1, parts):
        mailbox = mailboxes[i]
        mailbox[ENTRY], mailbox[DATA], mailbox[COUNT], mailbox[PARTS] = entry, data, count, parts
        atomic_store(mailbox, REQUESTED, mailbox[REQUESTED] + 1)


def _finish(mailboxes):
    """Withdraw the job from workers that have not begun, wait for the others, and return how many chunks failed."""
    failed = 0
    for i in range(1, mailboxes.shape[0]):
        mailbox = mailboxes[i]
        requested = mailbox[REQUESTED]
        if compare_and_swap(mailbox, CLAIMED, requested - 1, requested):
            mailbox[FAILED] = 0
            atomic_store(mailbox, DONE, requested)
    for i in range(1, mailboxes.shape[0]):
        mailbox, spins = mailboxes[i], 0
        while atomic_load(mailbox, DONE) != mailbox[REQUESTED]:
            spins += 1
            if spins > SPINS:
                yield_processor()
        failed += mailbox[FAILED]
    return failed


def _serve(mailboxes, thread_id):
    """Run the jobs of a mailbox until none has come for ``SPINS`` reads."""
    mailbox, spins = mailboxes[thread_id], 0
    while spins < SPINS:
        spins += 1
        requested = atomic_load(mailbox, REQUESTED)
        if requested != atomic_load(mailbox, CLAIMED) and compare_and_swap(mailbox, CLAIMED, requested - 1, requested):
            mailbox[FAILED] = work(mailboxes, thread_id, mailbox[ENTRY], mailbox[DATA], mailbox[COUNT], mailbox[PARTS])
            atomic_store(mailbox, DONE, requested)
            spins = 0


def _keep_processor():
    """Do nothing, where the system has no ``sched_yield``."""
    return 0


# A thread that waits for long on a busy machine lets the others run.
yield_processor: Any = (
    types.ExternalFunction("sched_yield", types.int32()) if os.name == "posix" else helper(_keep_processor)
)
request: Any = helper(_request)
finish: Any = helper(_finish)
serve: Any = compiled_and_kept(_serve)


def launcher(kernel: Callable, fastmath: frozenset[str], with_thread_id: bool) -> Callable:
    """Return a function ``launch(mailboxes, buffer, count, *arguments)`` that runs a loop of a kernel.

    The calling thread owns the first mailbox, workers watch the others. If another thread's job uses the mailboxes,
    the caller runs the loop alone. When the function returns, all threads have finished. It returns how many chunks
    failed.
    """
    pack = _packer(kernel, with_thread_id)

    def launch(mailboxes, buffer, count, *arguments):
        entry, data = pack(buffer, arguments)
        if mailboxes.shape[0] == 1 or not compare_and_swap(mailboxes[0], BUSY, 0, 1):
            return call_entry(entry, data, 0, 0, count)
        request(mailboxes, entry, data, count)
        failed = work(mailboxes, 0, entry, data, count, mailboxes.shape[0]) + finish(mailboxes)
        atomic_store(mailboxes[0], BUSY, 0)
        return failed

    launch.__name__ = launch.__qualname__ = kernel.__qualname__
    return compiled_and_kept(launch, fastmath, kernel)
