"""Compare and add: bits of comparisons are made, and then they are windows of AND and count."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from mlcnn.accelerators.cost import LayerCost, LayerTask, Traffic, together
from mlcnn.accelerators.in_memory.comparisons import (
    OPERATIONS,
    Comparisons,
    Done,
    Placed,
    comparisons_of,
    done,
    durations,
    placed,
    strips,
)
from mlcnn.accelerators.in_memory.description import EngineDescription, engines_of
from mlcnn.accelerators.in_memory.energy import Prices
from mlcnn.accelerators.in_memory.mapping import BOUNDS
from mlcnn.accelerators.in_memory.search import (
    SLACK,
    Choice,
    best_of,
    cost_of,
    grouped,
    layout_of,
)
from mlcnn.accelerators.in_memory.work import products_of
from mlcnn.accelerators.technology import Technology
from mlcnn.workload import ConvLayer, Layer, Numbers

__all__ = ["additions_of", "compare_and_add", "images_at_a_time"]

Floats = NDArray[np.float64]

_EXECUTION = "compare and add"


@dataclass(frozen=True, slots=True)
class _Compared:
    """The best mapping of the comparisons on one machine."""

    cycles: float
    bounds: Mapping[str, float]
    parts: Mapping[str, float]
    layout: Mapping[str, Floats]
    taken: Mapping[str, int]


def additions_of(task: LayerTask) -> LayerTask:
    """The point-wise layer that adds up bits of comparisons.

    Args:
        task: a comparator layer, with the pool that it is fused with.
    """
    nest, layer = task.nest, task.layer
    maps = comparisons_of(task).maps
    adding = ConvLayer(nest.name, nest.N, nest.K, maps, nest.P, nest.Q, 1, 1, pool=nest.pool)
    numbers = Numbers(layer.numbers.weight, 1)
    return replace(
        task, layer=Layer(adding, parts=(adding,), numbers=numbers), loaded_bits=1
    )  # fmt: skip


def images_at_a_time(task: LayerTask, engine: EngineDescription) -> int:
    """Images whose bits of comparisons the buffer holds; 0 if not even one.

    Beside them lie the inputs of a row of positions, or a filter.
    """
    work = comparisons_of(task)
    beside = max(work.band_inputs * work.bits, work.maps * task.layer.numbers.weight)
    room = engine.buffer_bits - beside
    held = room // (work.height * work.width * work.maps)
    return max(min(held, work.images), 0)


def compare_and_add(
    task: LayerTask, engine: EngineDescription, technology: Technology, slack: float = SLACK
) -> LayerCost:
    """What a comparator layer takes: so many images at a time as the buffer holds bits of.

    Where it does not hold those of one image, the bits of the whole batch go to DRAM and back.

    Args:
        task: the layer, which the engine takes.
        engine: the machine.
        technology: the tables.
        slack: of the cycles of each program, for a mapping that takes less energy.
    """
    held = images_at_a_time(task, engine)
    stages = [
        (often, *_run(task.with_nest(replace(task.nest, N=images)), engine, technology, slack))
        for images, often in _batches(task.nest.N, held or task.nest.N)
    ]
    costs = [cost for often, *both in stages for cost in often * both]
    _, comparing, adding = stages[0]
    return replace(
        together(task.layer.name, costs),
        execution=_EXECUTION,
        fused=adding.fused,
        mapping={
            "images_at_a_time": held or task.nest.N,
            "bits_stay_on_chip": held > 0,
            "comparisons": comparisons_of(task).made_bits,
            "row_operations": sum(_number(cost, "row_operations") for cost in costs),
            "bits_written": sum(_number(cost, "bits_written") for cost in costs),
            "energy_pj": _summed(costs),
            "compare": dict(comparing.mapping),
            "add": dict(adding.mapping),
        },
    )


def _batches(images: int, most: int) -> Iterator[tuple[int, int]]:
    """Sizes of batches, and how often each."""
    whole, rest = divmod(images, most)
    if whole:
        yield most, whole
    if rest:
        yield rest, 1


def _number(cost: LayerCost, name: str) -> int:
    found = cost.mapping[name]
    return found if isinstance(found, int) else 0


def _summed(costs: list[LayerCost]) -> dict[str, float]:
    found = dict[str, list[float]]()
    for cost in costs:
        parts = cost.mapping["energy_pj"]
        for name, part in parts.items() if isinstance(parts, dict) else ():
            found.setdefault(name, []).append(part)
    return {name: math.fsum(parts) for name, parts in found.items()}


def _run(
    task: LayerTask, engine: EngineDescription, technology: Technology, slack: float
) -> tuple[LayerCost, LayerCost]:
    """Both programs, one after the other."""
    stays = images_at_a_time(task, engine) >= task.nest.N
    adding = additions_of(task)
    works = [replace(work, made_here=stays) for work in products_of(adding)]
    work = comparisons_of(task)
    spilled = 0 if stays else work.made_bits
    found = _best(work, engine, technology, spilled, slack)
    return (
        _cost(task, work, engine, found, spilled),
        cost_of(adding, engine, best_of(works, engine, technology, slack)),
    )


def _best(
    work: Comparisons, engine: EngineDescription, technology: Technology, spilled: int, slack: float
) -> _Compared:
    engines, prices = engines_of((engine,)), Prices.of((engine,), technology)
    x = placed(work, engines, strips(work, engines))
    taken = done(work, engines, x, 0 if spilled else work.made_bits)
    cycles, *bounds = durations(work, engines, x, taken, spilled)
    parts = _energies(work, taken, prices, cycles, spilled)
    choice = Choice(cycles, x.fits, sum(parts.values(), np.zeros(1)), slack)
    return _Compared(
        float(choice.of(cycles)[0]),
        {name: float(choice.of(one)[0]) for name, one in zip(BOUNDS, bounds, strict=True)},
        {name: float(choice.of(part)[0]) for name, part in parts.items()},
        {f.name: choice.of(getattr(x, f.name)) for f in fields(Placed)},
        {f.name: int(choice.of(getattr(taken, f.name))[0]) for f in fields(Done)},
    )


def _energies(
    work: Comparisons, taken: Done, prices: Prices, cycles: Floats, spilled: int
) -> dict[str, Floats]:
    """Energy by ``PARTS``, in pJ; what fills the buffer with bits is in the second program's."""
    filled = taken.dram_input_bits / work.loaded_bits * work.bits
    return {
        "sensing": taken.senses * prices.sense,
        "latching": taken.latched_bits * prices.latch,
        "writing": taken.written_bits * prices.write,
        "buffer": taken.sent_bits * prices.sent + filled * prices.filled,
        "dram": (taken.dram_input_bits + spilled) * prices.dram,
        "leakage": cycles * prices.leak,
    }


def _cost(
    task: LayerTask, work: Comparisons, engine: EngineDescription, found: _Compared, spilled: int
) -> LayerCost:
    taken, cycles = found.taken, found.cycles
    return LayerCost(
        name=f"{task.layer.name}, comparisons",
        execution="compare",
        cycles=cycles,
        bound=max(BOUNDS, key=lambda name: found.bounds[name]),
        utilisation=taken["senses"] * engine.sense_cycles / (engine.arrays * cycles),
        multiplications=0,
        additions=work.made_bits,
        traffic=Traffic(
            dram_input=taken["dram_input_bits"] / 8,
            dram_output=spilled / 8,
            buffer_input=taken["written_bits"] / 8,
        ),
        energy=grouped(found.parts),
        mapping={
            "bits": work.bits,
            "row_operations": taken["senses"],
            "least_row_operations": _least(work, engine),
            "bits_latched": taken["latched_bits"],
            "bits_written": taken["written_bits"],
            "bits_sent": taken["sent_bits"],
            "copies_of_inputs": taken["written_bits"] / (work.stored_inputs * work.bits),
            "energy_pj": found.parts,
            "cycles": found.bounds,
            "layout": layout_of(found.layout),
        },
    )


def _least(work: Comparisons, engine: EngineDescription) -> int:
    """Row operations if every column compared all the time."""
    return OPERATIONS * work.bits * -(-work.made_bits // engine.columns)
