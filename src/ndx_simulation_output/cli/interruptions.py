"""End a command cleanly when a signal asks it to: Ctrl-C, kill, a closed terminal."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ndx_simulation_output.system import INTERRUPTIONS

_CLEANING_SECONDS = 10


@contextmanager
def interruptions() -> Iterator[None]:
    """Context manager in which the first signal raises KeyboardInterrupt.

    Later signals have no effect for some seconds, so that cleaning up is not interrupted. Signals
    that are ignored, as by ``nohup``, stay ignored. A KeyboardInterrupt that Python ignores in a
    callback of a library is raised again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python handles signals in the main thread.
        return
    first: list[float] = []

    def interrupt(number: int, frame: Any) -> None:
        del frame
        first.append(time.monotonic())
        if first[-1] - first[0] > _CLEANING_SECONDS or len(first) == 1:
            raise KeyboardInterrupt(signal.Signals(number).name)

    def again(unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            first.clear()
            number = interruption(unraisable.exc_value)
            threading.Timer(0.05, signal.pthread_kill, [threading.get_ident(), number]).start()
        else:
            hook(unraisable)

    hook = sys.unraisablehook
    if hasattr(signal, "pthread_kill"):  # Windows lacks it.
        sys.unraisablehook = again
    before = {number: signal.getsignal(number) for number in INTERRUPTIONS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            # After an interruption the process ends, which another one should not disturb.
            signal.signal(number, signal.SIG_IGN if first else handler)


def interruption(error: BaseException | None) -> signal.Signals | None:
    """Return the signal that raised an error, or after which cleaning up raised it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    if error is None:
        return None
    return signal.Signals[error.args[0]] if error.args else signal.SIGINT
