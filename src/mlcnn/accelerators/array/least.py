"""What a network's energy is not below on many arrays, whatever the ways and the tilings.

Every count of bytes and operations is least where the whole layer is one tile: nothing is loaded
again, and no edge is computed twice. Bytes of DRAM are the least of the tilings whose inputs their
memory holds. Of several ways each count is the least of any of them. So no design's energy is
below.
"""

import math
from collections.abc import Sequence
from dataclasses import astuple, fields

import numpy as np

from mlcnn.accelerators.array.bound import needs
from mlcnn.accelerators.array.cycles import parameter_beats
from mlcnn.accelerators.array.description import ArrayDescription
from mlcnn.accelerators.array.energy import energy
from mlcnn.accelerators.array.machine import Array
from mlcnn.accelerators.array.parameters import Parameters
from mlcnn.accelerators.array.tiling import Amounts, Tiling
from mlcnn.accelerators.array.traffic import ArrayOperations, Transfers, operations, transfers
from mlcnn.accelerators.array.work import Work
from mlcnn.accelerators.cost import LayerTask
from mlcnn.accelerators.technology import Technology

__all__ = ["least_energy"]


def least_energy(
    tasks: Sequence[tuple[LayerTask, int]],
    machines: Sequence[Array],
    cycles: Amounts,
    technology: Technology,
) -> Amounts:
    """Energy in pJ that no choice of ways and tilings is below on each of several machines.

    Args:
        tasks: layers, and how many there are of each.
        machines: the accelerators; none of them saves by layers of fewer bits.
        cycles: of all layers, that none is below; one for each machine, infinite where a layer
            cannot run.
        technology: the tables.

    Returns:
        Shape (machines,), infinite where ``cycles`` is.
    """
    counts: dict[tuple[object, ...], tuple[Transfers, ArrayOperations]] = {}
    loads: dict[tuple[object, ...], float] = {}
    result = np.full(len(machines), np.inf)
    for number, machine in enumerate(machines):
        if not np.isfinite(cycles[number]):
            continue
        alike = (
            machine.family, machine.slices, machine.multipliers, machine.wide_bits,
            machine.beat_bytes,
        )  # fmt: skip
        if alike not in counts:
            counts[alike] = _counts(tasks, machine)
        memory = (
            machine.family, machine.multipliers, machine.wide_bits, machine.beat_bytes,
            machine.input_bytes, machine.row_buffer_bytes,
        )  # fmt: skip
        if memory not in loads:
            loads[memory] = _dram_bytes(tasks, machine)
        moved, done = counts[alike]
        found = energy(machine, technology, moved, done, float(cycles[number]))
        result[number] = found.total + loads[memory] * 8 * technology.dram.pj_per_bit
    return result * (1 - 1e-12)  # sums in another order


def _counts(
    tasks: Sequence[tuple[LayerTask, int]], machine: Array
) -> tuple[Transfers, ArrayOperations]:
    """Bytes on the chip and operations of all layers; no bytes of DRAM."""
    names = [field.name for field in fields(Transfers)]
    moved, done = np.zeros(len(names)), np.zeros(len(fields(ArrayOperations)))
    for task, count in tasks:
        # The fewest turns read the fewest inputs; turns of a beat of weights waste none of it.
        ways = [
            _as_one_tile(work, machine, side)
            for work in machine.ways(task)
            for side in {machine.slices, max(min(machine.groups, machine.slices), 1)}
        ]
        moved += count * np.min([one for one, _ in ways], 0)
        done += count * np.min([other for _, other in ways], 0)
    on_chip = dict(zip(names, moved.tolist(), strict=True))
    on_chip |= dict.fromkeys((name for name in names if name.startswith("dram")), 0.0)
    executed = (math.floor(one) for one in done)
    return Transfers(**on_chip), ArrayOperations(*executed)


def _as_one_tile(
    work: Work, machine: ArrayDescription, side: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    layer = work.layer
    tiling = Tiling(
        images=layer.N,
        rows=work.rows.outputs,
        columns=work.columns.outputs,
        output_channels=layer.K // layer.G,
        input_channels=layer.C // layer.G,
        weights_outer=False,
        keep=True,
    )
    arguments = work, tiling, machine, 1, side
    return astuple(transfers(*arguments)), astuple(operations(*arguments))


def _dram_bytes(tasks: Sequence[tuple[LayerTask, int]], machine: Array) -> float:
    """Of all layers; infinite where one fits in no way."""
    return math.fsum(
        count * min(_least_dram(work.nameless, machine) for work in machine.ways(task))
        for task, count in tasks
    )


def _least_dram(work: Work, machine: Array) -> float:
    wanted = needs(work, Parameters.of((machine,)))
    fits = wanted.input_bits <= 8 * machine.input_bytes
    fits &= wanted.row_bytes <= machine.row_buffer_bytes
    beats = parameter_beats(work.layer.K * work.output_block, machine.beat_bytes)
    return float(np.where(fits, wanted.dram_bytes, np.inf).min() + beats * machine.beat_bytes)
