"""Grad mode and other choices belong to their block, their call and their thread."""

import asyncio
import threading

import numpy as np
import pytest

import tinycnn as tc
from tinycnn.choice import Choice


class Colour(Choice, default="black"):
    pass


def recorded():
    return (tc.Tensor([1.0], requires_grad=True) * 2).requires_grad


def test_the_innermost_block_holds():
    with tc.no_grad():
        assert not recorded()
        with tc.enable_grad():
            assert recorded()
        assert not recorded()
    assert recorded() and tc.is_grad_enabled()


def test_one_object_may_be_entered_twice():
    mode = tc.no_grad()
    with mode, mode:
        assert not recorded()
    assert recorded()


def test_blocks_may_end_in_another_order_than_they_began():
    red, green = Colour("red"), Colour("green")
    red.__enter__()
    green.__enter__()
    red.__exit__(None, None, None)
    assert Colour.current() == "green"
    green.__exit__(None, None, None)
    assert Colour.current() == "black"


def test_an_error_ends_the_block():
    with pytest.raises(ZeroDivisionError), tc.no_grad():
        raise ZeroDivisionError
    assert recorded()


@pytest.mark.parametrize("decorate", [tc.no_grad, tc.no_grad()], ids=["bare", "called"])
def test_decorators(decorate):
    @decorate
    def evaluate(depth):
        """Docstring."""
        return recorded() or (depth and evaluate(depth - 1))

    assert not evaluate(3)
    assert evaluate.__name__ == "evaluate" and evaluate.__doc__ == "Docstring."
    assert recorded()


def test_methods_can_be_decorated():
    class Model:
        @tc.no_grad
        def run(self, x):
            return self, x, recorded()

    model = Model()
    assert model.run(3) == (model, 3, False)


def test_a_decorated_generator_leaves_its_callers_mode_between_steps():
    @tc.no_grad()
    def steps():
        received = []
        try:
            while len(received) < 3:
                received.append(((yield recorded()), recorded()))
        except KeyError:
            with tc.enable_grad():
                received.append(((yield recorded()), recorded()))
            return received
        finally:
            ends.append(recorded())

    ends = []
    generator = steps()
    assert next(generator) is False and recorded()
    with tc.no_grad():
        assert generator.send("a") is False and not recorded()
        with tc.enable_grad():
            assert generator.send("b") is False and recorded()
    assert generator.throw(KeyError) is True and recorded()
    with pytest.raises(StopIteration) as end:
        generator.send("c")
    assert end.value.value == [("a", False), ("b", False), ("c", True)]
    assert recorded() and ends == [False]
    abandoned = steps()
    next(abandoned)
    abandoned.close()
    assert ends == [False, False] and recorded()


def test_an_error_in_a_decorated_generator_is_raised():
    @tc.no_grad()
    def steps():
        yield 1
        raise ZeroDivisionError

    generator = steps()
    next(generator)
    with pytest.raises(ZeroDivisionError):
        next(generator)
    assert recorded()


def test_coroutines_keep_their_mode_while_others_run():
    @tc.no_grad()
    async def without():
        seen = [recorded()]
        await asyncio.sleep(0)
        return [*seen, recorded()]

    async def plain():
        seen = [recorded()]
        await asyncio.sleep(0)
        return [*seen, recorded()]

    async def both():
        return await asyncio.gather(without(), plain(), without())

    assert asyncio.run(both()) == [[False, False], [True, True], [False, False]]


@pytest.mark.parametrize("target", [3, None, type("Class", (), {})], ids=["number", "nothing", "class"])
def test_what_cannot_be_decorated_is_refused(target):
    with pytest.raises(TypeError, match="cannot be decorated, expected a function"):
        tc.no_grad()(target)


def test_threads_do_not_see_each_others_choices():
    entered, leave = threading.Barrier(3), threading.Event()
    inside, after = {}, {}

    @tc.no_grad()
    def held(name):
        entered.wait(10)
        leave.wait(10)
        inside[name] = recorded()

    def work(name):
        if name == "nested":
            with tc.no_grad():
                held(name)
                inside["after the call"] = recorded()
        else:
            held(name)
        after[name] = recorded()

    threads = [threading.Thread(target=work, args=(name,)) for name in ("nested", "plain")]
    for thread in threads:
        thread.start()
    entered.wait(10)
    assert recorded()
    leave.set()
    for thread in threads:
        thread.join()
    assert inside == {"nested": False, "plain": False, "after the call": False}
    assert after == {"nested": True, "plain": True}


def test_the_algorithm_of_convolutions_is_a_choice_of_each_thread():
    x, weight = tc.Tensor(np.ones((1, 1, 3, 3))), tc.Tensor(np.ones((1, 1, 2, 2)))
    errors = []

    def other():
        try:
            tc.functional.conv2d(x, weight)
        except ValueError as error:
            errors.append(error)

    with tc.convolution_algorithm("winograd"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        with pytest.raises(ValueError, match="winograd"):
            tc.functional.conv2d(x, weight)
    assert not errors


class Interrupted(BaseException):
    pass


class InterruptedVariable:
    """A context variable whose calls end in an exception of a signal handler, after or before they had an effect."""

    def __init__(self, variable, at):
        self.variable, self.left = variable, at

    def _count(self):
        self.left -= 1
        if self.left == 0:
            raise Interrupted

    def get(self):
        value = self.variable.get()
        self._count()
        return value

    def set(self, value):
        self.variable.set(value)
        self._count()


@pytest.mark.parametrize("at", [1, 2, 3, 4])
@pytest.mark.parametrize("nested", [False, True])
def test_an_interrupt_leaves_no_choice_behind(at, nested, monkeypatch):
    choice = Colour("red")
    outer = Colour("blue") if nested else Colour("black")
    with outer, choice if nested else Colour("black"):
        expected = Colour.current()
        variable = Colour.frames
        monkeypatch.setattr(Colour, "frames", InterruptedVariable(variable, at))
        with pytest.raises(Interrupted), choice:
            pass
        monkeypatch.setattr(Colour, "frames", variable)
        assert Colour.current() == expected
    assert Colour.current() == "black"


class Methods:
    @tc.no_grad()
    @staticmethod
    def of_nothing(*arguments):
        return recorded(), arguments

    @tc.no_grad
    @classmethod
    def of_the_class(cls):
        return recorded(), cls

    def __call__(self):
        yield recorded()


def test_static_and_class_methods_stay_such():
    assert Methods().of_nothing(1) == Methods.of_nothing(1) == (False, (1,))
    assert Methods().of_the_class() == Methods.of_the_class() == (False, Methods)


def test_an_object_whose_call_is_a_generator_runs_its_steps_in_the_mode():
    assert list(tc.no_grad()(Methods())()) == [False]
