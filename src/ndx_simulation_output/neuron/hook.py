"""Follow a NEURON model while any program runs it: ``h.run()``, ``psolve``, a loop, another tool.

NEURON calls events when a time step is complete, in all threads. Each event sets the next one.
``extra_scatter_gather`` would be called before the states are complete, several times a step with
CVode, and once it was used, a run in several threads aborts the process.
"""

import sys
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from ndx_simulation_output.neuron.clock import Clock

# The part of a time step by which an event precedes the end of the step: NEURON calls it then,
# whatever the rounding of the time.
_EARLY = 1 / 8
# The time in ms after which CVode calls an event that is to be called at once.
_SOON = 1e-9
_NEVER = float("inf")


class Listener(Protocol):
    """Interface of the object that a hook calls. An exception of a method ends the run."""

    def initializing(self) -> None:
        """Note that ``finitialize`` begins."""

    def initialized(self) -> None:
        """Note that ``finitialize`` ends."""

    def due(self, time: float) -> float | None:
        """Return the time (ms) at which ``advanced`` is to be called next, or None."""

    def advanced(self) -> None:
        """Note that the time which was due has come."""

    def failed(self, error: BaseException) -> None:
        """Keep an exception of another method, of which NEURON only passes the text."""


class Hook:
    """Calls a listener when NEURON initializes or advances the model, until it is closed.

    NEURON may keep the functions that it is given longer than the model, so these do not refer to
    it.
    """

    def __init__(self, h: Any, clock: Clock, listener: Listener) -> None:
        self._clock = clock
        self._listener: Listener | None = listener
        self._pending, self._threads, self._is_initializing = _NEVER, 1, False
        self._event = self._weak("_on_event")
        self._handlers = [
            h.FInitializeHandler(3, self._weak("_on_initializing")),
            h.FInitializeHandler(2, self._weak("_on_initialized")),
        ]

    def arm(self) -> None:
        """Call the listener when something is due, except in CoreNEURON.

        With several threads, NEURON must have been initialized before.
        """
        if self._listener is None:
            return
        is_unknown = self._clock.context.nthread() not in (1, self._threads)
        if is_unknown or getattr(sys.modules.get("neuron.coreneuron"), "enable", False):
            return
        time = self._clock.time
        due = self._listener.due(time)
        if due is None:
            return
        early = _EARLY * self._clock.step_size if self._clock.is_now_fixed else 0.0
        # NEURON drops events that are not in the future, except while it is initialized.
        soon = time if self._is_initializing else time + (early or _SOON)
        due = max(soon, due - early)
        if due != self._pending:
            self._pending = due
            self._clock.cvode.event(due, self._event)

    def pause(self) -> None:
        """Call the listener no more, except when NEURON initializes, until ``arm``."""
        self._pending = _NEVER

    def close(self) -> None:
        """Call the listener no more."""
        self._listener, self._handlers = None, []

    def _on_initializing(self, listener: Listener) -> None:
        self.pause()
        listener.initializing()

    def _on_initialized(self, listener: Listener) -> None:
        self._pending = _NEVER  # NEURON has emptied its queue.
        self._threads, self._is_initializing = self._clock.context.nthread(), True
        try:
            listener.initialized()
        finally:
            self._is_initializing = False

    def _on_event(self, listener: Listener) -> None:
        # An event may be left from before a pause, or come from a state that was restored.
        if self._pending != _NEVER:
            self._pending = _NEVER
            listener.advanced()
            self.arm()

    def _weak(self, name: str) -> Callable[[], None]:
        """Return a function that calls a method while this object exists and is not closed."""
        reference = weakref.ref(self)

        def call() -> None:
            hook = reference()
            listener = None if hook is None else hook._listener  # noqa: SLF001 - of this class
            if listener is None:
                return
            try:
                getattr(hook, name)(listener)
            except BaseException as error:
                listener.failed(error)
                raise

        return call
