"""Membrane potentials that look recorded, made in blocks of rows in bounded memory.

Every compartment is a weighted sum of a few smooth sources of its cell: the soma, seen through
the cable later and weaker the farther away it is, and one fluctuation for each branch. That is
one small matrix product for each block, so a gigabyte takes about a second.
"""

from collections import deque
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from inputs.size import Size

__all__ = ["STEP_MS", "blocks"]

STEP_MS = 0.1
BRANCHES = 4
DELAYS = (0, 3, 6, 9, 12)  # in time steps: the taps between which the cable delays the soma
REST_MV = -65.0
FLUCTUATION_MV = 2.5
SPIKES_PER_SECOND = 8.0
MEMBRANE_MS = 12.0
SYNAPSE_MS = 1.5

Floats = NDArray[np.float32]


def blocks(size: Size, rows: int, seed: int = 0) -> Iterator[Floats]:
    """Yield membrane potentials in mV, ``rows`` time steps at a time.

    Each block has the shape (time, compartment): the compartments of the first cell, a soma and
    four branches, then those of the second, and so on. The last block may be shorter. The values
    depend on ``seed`` alone, not on ``rows``.
    """
    sources = _sources(size.cells, np.random.default_rng(seed))
    mixing = _mixing(size.compartments)
    for start in range(0, size.frames, rows):
        part = np.stack([next(sources) for _ in range(min(rows, size.frames - start))])
        block = part.reshape(-1, len(mixing)) @ mixing
        block += np.float32(REST_MV)
        yield block.reshape(len(part), size.columns)


def _sources(cells: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Yield the sources of each time step, shape (cell, delays of soma + branches), in mV."""
    fluctuations = _fluctuations((cells, 1 + BRANCHES), rng)
    spikes = _spikes(cells, rng)
    soma: deque[Floats] = deque(maxlen=max(DELAYS) + 1)
    for fluctuation, spike in zip(fluctuations, spikes, strict=False):
        now = fluctuation[:, 0] + spike
        soma.append(now)
        late = [soma[max(len(soma) - 1 - delay, 0)] for delay in DELAYS]
        yield np.column_stack([*late, fluctuation[:, 1:]])


def _fluctuations(shape: tuple[int, int], rng: np.random.Generator) -> Iterator[Floats]:
    """Yield white noise, filtered by synaptic and membrane low passes, about 0 mV."""
    slow = FLUCTUATION_MV * rng.standard_normal(shape, dtype=np.float32)
    smooth = slow.copy()
    kick = FLUCTUATION_MV * np.sqrt(2 * STEP_MS / MEMBRANE_MS)
    while True:
        yield smooth
        noise = rng.standard_normal(shape, dtype=np.float32)
        slow += np.float32(kick) * noise - np.float32(STEP_MS / MEMBRANE_MS) * slow
        smooth = smooth + np.float32(STEP_MS / SYNAPSE_MS) * (slow - smooth)


def _spikes(cells: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Yield the contribution of action potentials at the soma of each cell, in mV."""
    shape = _action_potential()
    last = len(shape) - 1
    since = rng.integers(0, 10 * last, cells)
    while True:
        yield shape[np.minimum(since, last)]
        since += 1
        fires = rng.random(cells) < SPIKES_PER_SECOND * STEP_MS / 1000
        since[fires & (since > last)] = 0


def _action_potential() -> Floats:
    """Return one spike: a peak of 100 mV after 0.6 ms and an after-hyperpolarisation; ends in 0."""
    t = np.arange(0, 40, STEP_MS)
    peak = 100 * np.exp(-(((t - 0.6) / 0.35) ** 2))
    after = -8 * np.exp(-t / 6) * (1 - np.exp(-t))
    shape = (peak + after).astype(np.float32)
    shape[-1] = 0
    return shape


def _mixing(compartments: int) -> Floats:
    """Return the weight of each source in each compartment, shape (source, compartment)."""
    dendritic = np.arange(compartments - 1)
    per_branch = -(-len(dendritic) // BRANCHES)
    distance = np.append(0, (dendritic % per_branch + 1) / per_branch)
    attenuation = np.exp(-2.5 * distance)
    delay = max(DELAYS) * distance
    taps = [attenuation * np.interp(delay, DELAYS, tap) for tap in np.eye(len(DELAYS))]
    branch = np.append(-1, dendritic // per_branch)
    own = [(branch == number) * (1 - attenuation) for number in range(BRANCHES)]
    return np.array(taps + own, dtype=np.float32)
