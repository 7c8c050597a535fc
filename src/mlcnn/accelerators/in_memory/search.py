"""The best way in which layers run on engines by AND and count, and what that costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mlcnn.accelerators.cost import Energy, LayerCost, LayerTask, Traffic
from mlcnn.accelerators.in_memory.description import EngineDescription, engines_of
from mlcnn.accelerators.in_memory.energy import PARTS, Prices, energies
from mlcnn.accelerators.in_memory.mapping import BOUNDS, Counts, Laid, counts, laid, mappings, times
from mlcnn.accelerators.in_memory.work import Products
from mlcnn.accelerators.technology import Technology

__all__ = ["SLACK", "Choice", "Found", "best", "best_of", "cost_of", "grouped", "layout_of"]

Floats = NDArray[np.float64]
_Kind = TypeVar("_Kind", np.float64, np.bool_)

SLACK = 0.01
"""Of the cycles of a layer, for a mapping that takes less energy."""
_EXECUTION = {False: "AND and count", True: "AND and count, on box sums"}


@dataclass(frozen=True, slots=True)
class Found:
    """The best mapping on each of several machines; arrays of shape (machines,)."""

    work: Products
    fits: NDArray[np.bool_]
    cycles: Floats
    bounds: tuple[Floats, ...]
    parts: dict[str, Floats]
    layout: dict[str, Floats]
    done: dict[str, Floats]

    @property
    def energy(self) -> Floats:
        """All parts."""
        return np.sum(list(self.parts.values()), axis=0)


class Choice:
    """Of mappings that are about as fast as the fastest, the one that takes least energy.

    Args:
        cycles: of each, shape (machines, mappings).
        fits: whether it can be.
        energy: of each.
        slack: of the cycles.
    """

    def __init__(
        self, cycles: Floats, fits: NDArray[np.bool_], energy: Floats, slack: float
    ) -> None:
        self.cycles = np.where(fits, cycles, np.inf)
        least = self.cycles.min(axis=1, keepdims=True)
        total = np.where(self.cycles <= least * (1 + slack), energy, np.inf)
        self._where = np.arange(len(total)), np.argmin(total, axis=1)

    def of(self, one: NDArray[_Kind]) -> NDArray[_Kind]:
        """Any number of the mappings as the chosen one has it, shape (machines,)."""
        return np.broadcast_to(one, self.cycles.shape)[self._where]


def best(
    work: Products, machines: Sequence[EngineDescription], technology: Technology,
    slack: float = SLACK,
) -> Found:  # fmt: skip
    """The best mapping of one way to run a layer, see ``Choice``."""
    engines, prices = engines_of(machines), Prices.of(machines, technology)
    x = laid(work, engines, mappings(work, engines))
    done = counts(work, engines, x)
    cycles, *bounds = times(work, engines, x, done)
    parts = energies(work, done, prices, cycles)
    taken = Choice(cycles, x.fits, sum(parts.values(), np.zeros(1)), slack)
    return Found(
        work, taken.of(x.fits), taken.of(taken.cycles), tuple(map(taken.of, bounds)),
        {name: taken.of(part) for name, part in parts.items()},
        {f.name: taken.of(getattr(x, f.name)) for f in fields(Laid)},
        {f.name: taken.of(getattr(done, f.name)) for f in fields(Counts)},
    )  # fmt: skip


def best_of(
    works: Sequence[Products], engine: EngineDescription, technology: Technology,
    slack: float = SLACK,
) -> Found:  # fmt: skip
    """The fastest of several ways to run a layer, one of which fits the engine."""
    found = [best(work, (engine,), technology, slack) for work in works]
    fitting = [one for one in found if one.fits[0]]
    return min(fitting, key=lambda one: (one.cycles[0], one.energy[0]))


def grouped(parts: Mapping[str, float]) -> Energy:
    """Parts of the energy as every machine has them."""
    found: dict[str, float] = dict.fromkeys(("dram", "buffer", "mac", "static"), 0.0)
    for name, part in parts.items():
        found[PARTS[name]] += part
    return Energy(**found)


def layout_of(layout: Mapping[str, Floats]) -> dict[str, object]:
    """How a layer lies on one machine, as results show it."""
    return {
        name: bool(one[0]) if one.dtype == bool else int(one[0])
        for name, one in layout.items()
        if name != "fits"
    }


def cost_of(task: LayerTask, engine: EngineDescription, found: Found) -> LayerCost:
    """What a layer takes in the mapping that was found for it on one engine."""
    work, cycles = found.work, float(found.cycles[0])
    done = {name: int(value[0]) for name, value in found.done.items()}
    parts = {name: float(part[0]) for name, part in found.parts.items()}
    longest = int(np.argmax([bound[0] for bound in found.bounds]))
    written = done["filter_bits"] + done["window_bits"]
    additions = done["sums"] + done["merged"] + work.outputs + work.input_additions
    return LayerCost(
        name=task.layer.name,
        execution=_EXECUTION[work.fused],
        cycles=cycles,
        bound=BOUNDS[longest],
        utilisation=done["senses"] * engine.sense_cycles / (engine.arrays * cycles),
        multiplications=0,
        additions=additions + work.pool_additions,
        traffic=Traffic(
            dram_weight=done["dram_weight_bits"] / 8,
            dram_input=done["dram_input_bits"] / 8,
            dram_output=work.written_bits / 8,
            buffer_weight=done["filter_bits"] / 8,
            buffer_input=done["window_bits"] / 8,
        ),
        energy=grouped(parts),
        fused=work.fused,
        mapping={
            "bits": [work.weight_bits, work.input_bits],
            "row_operations": done["senses"],
            "least_row_operations": work.row_operations,
            "bits_counted": done["counted_bits"],
            "bits_written": written,
            "bits_sent": done["sent_bits"],
            "copies_of_filters": done["filter_bits"] / _bits(work, filters=True),
            "copies_of_inputs": done["window_bits"] / (work.stored_inputs * work.input_bits),
            "energy_pj": parts,
            "cycles": {name: float(one[0]) for name, one in zip(BOUNDS, found.bounds, strict=True)},
            "layout": layout_of(found.layout),
        },
    )


def _bits(work: Products, *, filters: bool) -> int:
    numbers = work.filters if filters else work.windows
    return work.groups * numbers * work.length * (work.weight_bits if filters else work.input_bits)
