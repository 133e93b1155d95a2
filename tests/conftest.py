"""Fixtures for every test."""

import signal

import pytest

import tinycnn as tc


@pytest.fixture(autouse=True)
def same_number_of_threads():
    """Restore the number of threads after each test."""
    threads = tc.get_num_threads()
    yield
    tc.set_num_threads(threads)


@pytest.fixture(autouse=True, scope="session")
def no_ignored_signals():
    """Reset ignored signals, which child processes inherit: SIGHUP under nohup, SIGINT in a shell's background."""
    for name, handler in (("SIGHUP", signal.SIG_DFL), ("SIGINT", signal.default_int_handler)):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)
