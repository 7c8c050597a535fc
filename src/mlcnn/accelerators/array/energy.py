"""Energy of a layer from what it moves and executes."""

import math
from dataclasses import dataclass
from functools import lru_cache

from mlcnn.accelerators.array.area import memories, static_power_mw
from mlcnn.accelerators.array.description import ArrayDescription
from mlcnn.accelerators.array.traffic import ArrayOperations, Transfers
from mlcnn.accelerators.cost import Energy
from mlcnn.accelerators.technology import Technology
from mlcnn.accelerators.technology.memory import Macro

__all__ = ["energy"]


@dataclass(frozen=True, slots=True)
class _Costs:
    """pJ per byte of each memory, and mW of leakage."""

    buffer_read: float
    buffer_write: float
    sum_read: float
    sum_write: float
    row: float
    static_mw: float


# A technology holds tables and cannot be hashed by value: it counts by identity, which is safe
# since it is frozen and the cache keeps it alive.
@lru_cache(maxsize=4096)
def _costs_of(machine: ArrayDescription, key: "_Identity") -> _Costs:
    technology = key.technology
    held = memories(machine, technology)
    buffer, sums = held.buffer[0], held.accumulators[0]
    row = None if held.row_buffer is None else held.row_buffer[0]
    return _Costs(
        buffer.read_pj / (buffer.width_bits / 8),
        buffer.write_pj / (buffer.width_bits / 8),
        sums.read_pj / (sums.width_bits / 8),
        sums.write_pj / (sums.width_bits / 8),
        _row_cost(row),
        static_power_mw(machine, technology),
    )


def _row_cost(row: Macro | None) -> float:
    return 0.0 if row is None else (row.read_pj + row.write_pj) / 2 / (row.width_bits / 8)


class _Identity:
    """A technology, compared by identity."""

    __slots__ = ("technology",)

    def __init__(self, technology: Technology) -> None:
        self.technology = technology

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and other.technology is self.technology

    def __hash__(self) -> int:
        return id(self.technology)


def energy(
    machine: ArrayDescription,
    technology: Technology,
    moved: Transfers,
    done: ArrayOperations,
    cycles: float,
) -> Energy:
    """Energy of a layer.

    Words that are read together are taken to lie in the same line of a bank, so that memories
    cost per byte; idle multipliers are gated and cost nothing but leakage.

    Args:
        machine: the accelerator.
        technology: the tables.
        moved: bytes.
        done: operations.
        cycles: time.
    """
    costs = _costs_of(machine, _Identity(technology))
    operations = technology.operations[machine.precision]
    multiply = operations.multiply.energy_pj * machine.multiplier_width
    mac = math.fsum(
        (
            done.multiplications * multiply,
            done.tree_additions * operations.add.energy_pj,
            done.accumulations * operations.accumulate.energy_pj,
            done.input_additions * operations.input_add.energy_pj,
            done.output_additions * operations.accumulate.energy_pj,
            done.scalings * (operations.multiply.energy_pj + operations.input_add.energy_pj),
        )
    )
    registers = 8 * technology.register.energy_pj_per_bit
    buffer = math.fsum(
        (
            (moved.weight_written + moved.input_written) * costs.buffer_write,
            (moved.weight_read + moved.input_read) * (costs.buffer_read + registers),
            moved.partial_sum_written * costs.sum_write,
            moved.partial_sum_read * costs.sum_read,
            moved.row_buffer * costs.row,
        )
    )
    seconds = cycles / (machine.clock_mhz * 1e6)
    return Energy(
        dram=moved.dram * 8 * technology.dram.pj_per_bit,
        buffer=buffer,
        mac=mac,
        static=costs.static_mw * seconds * 1e9,
    )
