"""Choices that hold inside a ``with`` block or a decorated function, for the thread and the call that made them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import Any, ClassVar, NamedTuple

_INHERITED: Any = object()


class _Frame(NamedTuple):
    """One choice in force, the object that made it, and the choice around it."""

    value: Any
    owner: Choice | None = None
    outer: _Frame | None = None

    def without(self, owner: Choice) -> _Frame:
        """Return these frames without the innermost one of ``owner``, which need not be the last."""
        if self.owner is owner and self.outer is not None:
            return self.outer
        return self if self.outer is None else self._replace(outer=self.outer.without(owner))


class Choice:
    """A choice that holds to the end of its ``with`` block, or while a decorated function runs.

    The innermost block holds. Each thread, and each task of ``asyncio``, has its own choices: they are kept in a
    :class:`contextvars.ContextVar`. A decorated generator runs each of its steps with the choice and leaves the choices
    of its caller in force between them. A subclass with a ``default`` is a choice of its own; subclasses without one
    choose the same thing.

    As PyTorch's ``no_grad`` and NumPy's ``errstate``, a choice stays in force if a signal handler raises an exception
    exactly between the end of the block and the first line of ``__exit__``, where Python cannot catch it.

    Attributes
    ----------
    frames : ContextVar
        The choices in force here, from the innermost outwards.

    Examples
    --------
    >>> class Colour(Choice, default="black"):
    ...     pass
    >>> with Colour("red"):
    ...     Colour.current()
    'red'
    >>> Colour.current()
    'black'
    """

    frames: ClassVar[ContextVar[_Frame]]
    current: ClassVar[Callable[[], Any]]  # returns the value chosen here

    def __init_subclass__(cls, default: Any = _INHERITED) -> None:
        if default is not _INHERITED:
            cls.frames = ContextVar(cls.__name__, default=_Frame(default))  # noqa: B039 (a tuple)
            frame = cls.frames.get
            cls.current = staticmethod(lambda: frame().value)  # each operation asks: a classmethod takes twice as long

    def __init__(self, value: Any) -> None:
        self._value = value

    def __enter__(self) -> None:
        before = self.frames.get()
        try:
            self.frames.set(_Frame(self._value, self, before))
        except BaseException:  # of a signal handler: the block is not entered, so nothing would end the choice
            self.frames.set(before)
            raise

    def __exit__(self, *_: object) -> None:
        left = None
        try:
            left = self.frames.get().without(self)
            self.frames.set(left)
        except BaseException:  # of a signal handler
            if self.frames.get() is not left:
                self.frames.set(self.frames.get().without(self))
            raise

    def __call__(self, function: Callable) -> Callable:
        """Decorate a function, a method of any kind, a coroutine function or a generator function.

        Raises
        ------
        TypeError
            If ``function`` is a class, an asynchronous generator, or not callable.
        """
        if isinstance(function, (staticmethod, classmethod)):
            return type(function)(self(function.__func__))
        name = type(self).__name__
        if isinstance(function, type) or not callable(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"{name}: {function!r} cannot be decorated, expected a function, a coroutine or a generator"
            )
        if inspect.isgeneratorfunction(function) or inspect.isgeneratorfunction(vars(type(function)).get("__call__")):

            @functools.wraps(function)
            def decorated_generator(*args: Any, **kwargs: Any) -> Generator:
                return (yield from self._steps(function(*args, **kwargs)))

            return decorated_generator
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def decorated_coroutine(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return await function(*args, **kwargs)

            return decorated_coroutine

        @functools.wraps(function)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return decorated

    def _steps(self, generator: Generator) -> Generator:
        """Run each step of a generator with this choice, and with those that the generator itself left in force."""
        inner = _Frame(self._value, self, self.frames.get())

        def run(step: Callable, *arguments: Any) -> Any:
            nonlocal inner
            outer = self.frames.get()
            self.frames.set(inner)
            try:
                return step(*arguments)
            finally:
                inner = self.frames.get()
                self.frames.set(outer)

        step: Callable = generator.send
        argument: Any = None
        while True:
            try:
                result = run(step, argument)
            except StopIteration as end:
                return end.value
            try:
                step, argument = generator.send, (yield result)
            except GeneratorExit:
                run(generator.close)
                raise
            except BaseException as error:
                step, argument = generator.throw, error
