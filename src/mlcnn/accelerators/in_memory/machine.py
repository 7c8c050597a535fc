"""Memory sub-arrays as a machine: rows of bits that are sensed together, and their ones counted."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mlcnn.accelerators.cost import Energy, LayerCost, LayerTask, Traffic
from mlcnn.accelerators.in_memory.cells import load_cells
from mlcnn.accelerators.in_memory.description import EngineDescription, engines_of
from mlcnn.accelerators.in_memory.energy import PARTS, Prices, energies, engine_area
from mlcnn.accelerators.in_memory.mapping import BOUNDS, Counts, Laid, counts, laid, mappings, times
from mlcnn.accelerators.in_memory.work import Products, products_of
from mlcnn.accelerators.machine import Infeasible, unknown_layer, unknown_parts
from mlcnn.accelerators.technology import Technology
from mlcnn.errors import InfeasibleError
from mlcnn.workload import Arithmetic, Layer

__all__ = ["SLACK", "InMemoryEngine", "sweep"]

Floats = NDArray[np.float64]
_Kind = TypeVar("_Kind", np.float64, np.bool_)

_MOST_BITS = 16
SLACK = 0.01
"""Of the cycles of a layer, for a mapping that takes less energy."""
_TOGETHER = 256  # machines at a time
_EXECUTION = {False: "AND and count", True: "AND and count, on box sums"}


@dataclass(frozen=True, slots=True)
class _Found:
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


def _best(
    work: Products, machines: Sequence[EngineDescription], technology: Technology,
    slack: float = SLACK,
) -> _Found:  # fmt: skip
    """Of the mappings that are about as fast as the fastest, the one that takes least energy."""
    engines, prices = engines_of(machines), Prices.of(machines, technology)
    x = laid(work, engines, mappings(work, engines))
    done = counts(work, engines, x)
    cycles, *bounds = times(work, engines, x, done)
    parts = energies(work, done, prices, cycles)
    cycles = np.where(x.fits, cycles, np.inf)
    least = cycles.min(axis=1, keepdims=True)
    total = np.where(cycles <= least * (1 + slack), sum(parts.values()), np.inf)
    where = np.argmin(total, axis=1)
    index = np.arange(len(machines))

    def taken(one: NDArray[_Kind]) -> NDArray[_Kind]:
        return np.broadcast_to(one, cycles.shape)[index, where]

    return _Found(
        work, taken(x.fits), taken(cycles), tuple(map(taken, bounds)),
        {name: taken(part) for name, part in parts.items()},
        {f.name: taken(getattr(x, f.name)) for f in fields(Laid)},
        {f.name: taken(getattr(done, f.name)) for f in fields(Counts)},
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class InMemoryEngine(EngineDescription):
    """Sub-arrays that sense two rows at once: bits of windows with bits of filters."""

    def with_cells(self, name: str, rows: int, columns: int) -> "InMemoryEngine":
        """The same engine with other sub-arrays.

        Args:
            name: of the cells.
            rows: of a sub-array.
            columns: likewise.

        Raises:
            InputError: there are no such cells, or none of this size.
        """
        cells = load_cells(name)
        return replace(self, cell=cells.name, sub_array=cells.sub_array(rows, columns))

    def takes(self, layer: Layer) -> Infeasible | None:
        """See ``Machine``: dense weights and inputs of few bits, a row of each in a sub-array."""
        return self._unknown(layer) or self._unquantised(layer) or self._too_large(layer)

    def cost(self, task: LayerTask, technology: Technology) -> LayerCost:
        """See ``Machine``."""
        if (why := self.takes(task.layer)) is not None:
            raise InfeasibleError(str(why))
        found = [_best(work, (self,), technology) for work in products_of(task)]
        fitting = [one for one in found if one.fits[0]]
        best = min(fitting, key=lambda one: (one.cycles[0], one.energy[0]))
        return _cost(task, self, best)

    def area(self, technology: Technology) -> float:
        """See ``Machine``; ``mlcnn.accelerators.in_memory.engine_area`` gives the parts."""
        return engine_area(self, technology).total

    def _unknown(self, layer: Layer) -> Infeasible | None:
        wanted = unknown_parts(layer, (Arithmetic.MULTIPLY, Arithmetic.AND_POPCOUNT))
        does = "its sub-arrays AND bits of dense weights with bits of inputs"
        return unknown_layer(self.name, layer, wanted, does) if wanted else None

    def _unquantised(self, layer: Layer) -> Infeasible | None:
        numbers = layer.numbers
        widest = max(numbers.weight, numbers.input)
        if widest <= _MOST_BITS:
            return None
        return Infeasible(
            f"accelerator {self.name} cannot run {layer.name}: its weights have {numbers.weight} "
            f"bits and its inputs {numbers.input}, and bits of codes of at most {_MOST_BITS} meet "
            "in its rows: quantise the network first, as with mlcnn quantize MODEL --data DIR "
            "--weight-bits 1 --input-bits 2 --finetune EPOCHS",
            demand=widest, bound=_MOST_BITS, unit="bits", levers=("mlcnn quantize",),
        )  # fmt: skip

    def _too_large(self, layer: Layer) -> Infeasible | None:
        """Why no mapping fits: rows, sub-arrays for the slices of a window, or the buffer."""
        works = products_of(LayerTask(layer))
        if any(self._fits(work) for work in works):
            return None
        work = works[-1]
        planes = work.weight_bits + work.input_bits
        start = f"accelerator {self.name} cannot run {layer.name}: "
        if planes > self.rows:
            return Infeasible(
                f"{start}a row for each bit of a filter and of a window takes {planes} rows, and a "
                f"sub-array has {self.rows}: take more rows, or fewer bits",
                demand=planes, bound=self.rows, unit="rows", levers=("rows", "mlcnn quantize"),
            )  # fmt: skip
        slices = -(-work.length // self.columns)
        held = self.rows // planes * self.arrays
        if slices > held:
            return Infeasible(
                f"{start}a window has {work.length} numbers, {slices} slices of {self.columns} "
                f"columns, and all {self.arrays} sub-arrays hold {held}: take more sub-arrays, or "
                "larger ones, or fewer bits",
                demand=slices, bound=held, unit="slices", levers=("arrays", "rows", "columns"),
            )  # fmt: skip
        bits = work.band_inputs * work.input_bits + work.length * work.weight_bits
        return Infeasible(
            f"{start}inputs of a row of positions and one filter take {bits / 8:.0f} bytes, and "
            f"the buffer has {self.buffer_bytes}: enlarge it",
            demand=bits / 8, bound=self.buffer_bytes, unit="bytes", levers=("buffer bytes",),
        )  # fmt: skip

    def _fits(self, work: Products) -> bool:
        engines = engines_of((self,))
        return bool(laid(work, engines, mappings(work, engines)).fits.any())


def _cost(task: LayerTask, engine: EngineDescription, found: _Found) -> LayerCost:
    work, cycles = found.work, float(found.cycles[0])
    done = {name: int(value[0]) for name, value in found.done.items()}
    grouped: dict[str, float] = dict.fromkeys(("dram", "buffer", "mac", "static"), 0.0)
    for name, part in found.parts.items():
        grouped[PARTS[name]] += float(part[0])
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
        energy=Energy(**grouped),
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
            "energy_pj": {name: float(part[0]) for name, part in found.parts.items()},
            "cycles": {name: float(one[0]) for name, one in zip(BOUNDS, found.bounds, strict=True)},
            "layout": {
                name: bool(one[0]) if one.dtype == bool else int(one[0])
                for name, one in found.layout.items()
                if name != "fits"
            },
        },
    )


def _bits(work: Products, *, filters: bool) -> int:
    numbers = work.filters if filters else work.windows
    return work.groups * numbers * work.length * (work.weight_bits if filters else work.input_bits)


def sweep(
    tasks: Sequence[LayerTask], machines: Sequence[EngineDescription], technology: Technology,
    slack: float = SLACK,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Cycles and energy of a network on many engines.

    Args:
        tasks: the layers.
        machines: the engines.
        technology: the tables.
        slack: of the cycles of a layer, for a mapping that takes less energy.

    Returns:
        Cycles and pJ, shape (machines, layers) each; infinite where an engine cannot run a layer.
    """
    nameless = [task.with_nest(replace(task.nest, name="")) for task in tasks]
    cycles, energy = np.empty((2, len(machines), len(tasks)))
    for task in dict.fromkeys(nameless):
        columns = [index for index, other in enumerate(nameless) if other == task]
        for start in range(0, len(machines), _TOGETHER):
            some = slice(start, start + _TOGETHER)
            found = [_best(work, machines[some], technology, slack) for work in products_of(task)]
            quick = np.array([one.cycles for one in found])
            which = np.argmin(quick, axis=0), np.arange(quick.shape[1])
            taken = quick[which], np.array([one.energy for one in found])[which]
            cycles[some, columns] = taken[0][:, None]
            energy[some, columns] = np.where(np.isinf(taken[0]), np.inf, taken[1])[:, None]
    return cycles, energy
