"""Simulate with NEURON, and record nothing, with this package, or with NEURON's vectors.

The model is made before the time begins.
"""

from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np
from neuron import h

from ndx_simulation_output.neuron import record

__all__ = ["bare", "read", "recorded", "with_vectors"]

Work = Callable[[], object]
SECTIONS, NSEG = 10, 10
START = {"NWBFile": {"session_start_time": "2026-01-31T12:00:00+01:00"}}
VECTORS_AT_ONCE = 256


def bare(*, segments: int, steps: int, mechanism: str) -> Work:
    """Simulate only."""
    model = _model(segments, mechanism)

    def work() -> object:
        _run(steps)
        return model

    return work


def read(*, segments: int, steps: int, mechanism: str) -> Work:
    """Read the potential of all segments after each time step, and keep nothing."""
    model = _model(segments, mechanism)
    found = list(_potentials())
    pointers, values = h.PtrVector(len(found)), h.Vector(len(found))
    for number, pointer in enumerate(found):
        pointers.pset(number, pointer)

    def work() -> object:
        context = _begin()
        for step in range(steps):
            context.psolve((step + 1.25) * h.dt)
            pointers.gather(values)
        return model

    return work


def recorded(target: str, *, segments: int, steps: int, mechanism: str) -> Work:
    """Record the potential of all segments at each time step, as float32."""
    model = _model(segments, mechanism)

    def work() -> object:
        with record(target, dtype="f4", metadata=START) as recorder:
            recorder.run(steps * h.dt)
        return model

    return work


def with_vectors(target: str, *, segments: int, steps: int, mechanism: str) -> Work:
    """Record them into vectors, and write these as float32 when it is over."""
    model = _model(segments, mechanism)

    def work() -> object:
        vectors = [h.Vector().record(pointer) for pointer in _potentials()]
        _run(steps)
        with h5py.File(target, "w") as file:
            data = file.create_dataset("v", (steps + 1, len(vectors)), "f4")
            for first in range(0, len(vectors), VECTORS_AT_ONCE):
                some = vectors[first : first + VECTORS_AT_ONCE]
                data[:, first : first + len(some)] = np.stack(
                    [vector.as_numpy() for vector in some], axis=1
                )
        return model

    return work


def _potentials() -> Iterator[Any]:
    """Return NEURON's pointers to the potentials of all segments."""
    for section in h.allsec():
        for segment in section:
            yield segment._ref_v  # noqa: SLF001


def _begin() -> Any:
    context = h.ParallelContext()
    context.set_maxstep(10)
    h.finitialize(-65)
    return context


def _run(steps: int) -> None:
    _begin().psolve(steps * h.dt)


def _model(segments: int, mechanism: str) -> list[Any]:
    """Make cells of ten sections of ten segments: a soma with hh, and dendrites."""
    made = []
    for cell in range(max(1, segments // (SECTIONS * NSEG))):
        sections = [h.Section(name=f"cell{cell}_{number}") for number in range(SECTIONS)]
        for section in sections:
            section.nseg, section.L, section.diam = NSEG, 200, 2
            section.insert(mechanism)
            if section is not sections[0]:
                section.connect(sections[0](1))
        sections[0].insert("hh")
        clamp = h.IClamp(sections[0](0.5))
        clamp.delay, clamp.dur, clamp.amp = 1, 100, 0.5
        made.append((sections, clamp))
    return made
