"""Points at which CPython may run a signal handler, and how to act at each of them in turn."""

import dis
import sys

BEFORE = ("CALL", "PRECALL", "RESUME", "JUMP_BACKWARD")  # instructions after which it looks for signals


class Interrupted(BaseException):
    """Raised at a point."""


def raise_interrupted():
    raise Interrupted


def at_each_point(prepare, function, modules, action=raise_interrupted):
    """Run ``function(*prepare())`` once for each point in the sources of some modules, and act there.

    Yields what the function returned, or None if it raised :class:`Interrupted`.
    """
    files, number = {module.__file__ for module in modules}, 0
    while True:
        tracer = _Tracer(files, number, action)
        result = _run(tracer, function, prepare())
        if not tracer.done:
            return
        yield result
        del result
        number += 1


def _run(tracer, function, arguments):
    try:
        sys.settrace(tracer.enter)
        return function(*arguments)
    except Interrupted:
        return None
    finally:
        sys.settrace(None)


class _Tracer:
    def __init__(self, files, number, action):
        self.files, self.left, self.action = files, number, action
        self.names, self.last, self.done = {}, {}, False

    def enter(self, frame, event, arg):
        if frame.f_code.co_filename not in self.files or self.done:
            return None
        frame.f_trace_opcodes = True
        self.last[id(frame)] = "RESUME"
        return self.step

    def step(self, frame, event, arg):
        if event != "opcode" or self.done:
            return self.step
        code = frame.f_code
        if code not in self.names:
            self.names[code] = {i.offset: i.opname for i in dis.get_instructions(code)}
        last = self.last.get(id(frame), "")
        self.last[id(frame)] = self.names[code].get(frame.f_lasti, "")
        if last.startswith(BEFORE):
            if self.left == 0:
                self.done = True
                sys.settrace(None)
                self.action()
            self.left -= 1
        return self.step
