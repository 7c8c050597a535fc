"""Energy of a layer from what it moves and executes."""

import math

from mlcnn.accelerators.array.area import memories, static_power_mw
from mlcnn.accelerators.array.description import ArrayDescription
from mlcnn.accelerators.array.shares import WHOLE, Shares
from mlcnn.accelerators.array.traffic import ArrayOperations, Transfers
from mlcnn.accelerators.cost import Energy
from mlcnn.accelerators.technology import Technology
from mlcnn.accelerators.technology.memory import Macro

__all__ = ["energy", "per_byte"]


def energy(
    machine: ArrayDescription,
    technology: Technology,
    moved: Transfers,
    done: ArrayOperations,
    cycles: float,
    *,
    shares: Shares = WHOLE,
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
        shares: of the energy of an operation, where the layer has few bits.
    """
    held = memories(machine, technology)
    input_read, input_write = per_byte(held.inputs[0])
    weight_read, weight_write = per_byte(held.weights[0])
    sum_read, sum_write = per_byte(held.accumulators[0])
    row_read, row_write = per_byte(held.row_buffer[0]) if held.row_buffer else (0.0, 0.0)
    operations = technology.costs(machine.precision)
    multiply = operations.multiply.energy_pj * machine.multiplier_width
    mac = math.fsum(
        (
            done.multiplications * multiply * shares.multiply,
            done.tree_additions * operations.add.energy_pj * shares.add,
            done.accumulations * operations.accumulate.energy_pj * shares.add,
            done.input_additions * operations.input_add.energy_pj * shares.input_add,
            done.output_additions * operations.accumulate.energy_pj * shares.add,
            done.scalings * (operations.multiply.energy_pj + operations.input_add.energy_pj),
        )
    )
    registers = 8 * technology.register.energy_pj_per_bit
    buffer = math.fsum(
        (
            moved.weight_written * weight_write,
            moved.weight_read * (weight_read + registers),
            moved.input_written * input_write,
            moved.input_read * (input_read + registers),
            moved.partial_sum_written * sum_write,
            moved.partial_sum_read * sum_read,
            moved.row_buffer * (row_read + row_write) / 2,
        )
    )
    seconds = cycles / (machine.clock_mhz * 1e6)
    return Energy(
        dram=moved.dram * 8 * technology.dram.pj_per_bit,
        buffer=buffer,
        mac=mac,
        static=static_power_mw(machine, technology) * seconds * 1e9,
    )


def per_byte(macro: Macro) -> tuple[float, float]:
    """Energy of a byte read and of one written, in pJ."""
    return macro.read_pj / (macro.width_bits / 8), macro.write_pj / (macro.width_bits / 8)
