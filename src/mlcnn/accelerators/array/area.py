"""Area and static power of an array."""

from dataclasses import dataclass, fields

from mlcnn.accelerators.array.description import ArrayDescription
from mlcnn.accelerators.technology import Technology
from mlcnn.accelerators.technology.memory import Macro

__all__ = ["Area", "Memories", "area", "memories", "static_power_mw"]

# Slices whose accumulator banks lie side by side in one memory: they work in lockstep, on the same
# entry at the same time.
_SLICES_A_MACRO = 8


@dataclass(frozen=True, slots=True)
class Area:
    """Square micrometres by part. Control, clock tree and wires are not counted.

    Attributes:
        multipliers: of all slices.
        adders: adder trees and accumulators' adders.
        registers: two weights and one input a multiplier; windows.
        input_unit: adders of box sums or transforms, and scalers.
        output_unit: bias, pool and output transform.
        buffer: inputs and weights.
        accumulators: the banks.
        row_buffer: of the input unit.
    """

    multipliers: float
    adders: float
    registers: float
    input_unit: float
    output_unit: float
    buffer: float
    accumulators: float
    row_buffer: float

    @property
    def total(self) -> float:
        """All parts."""
        return sum(getattr(self, field.name) for field in fields(self))

    @property
    def logic(self) -> float:
        """All but the memories."""
        return self.total - self.buffer - self.accumulators - self.row_buffer


@dataclass(frozen=True, slots=True)
class Memories:
    """The memories of an accelerator, as (macro, number of them); None for a part it lacks."""

    buffer: tuple[Macro, float]
    accumulators: tuple[Macro, float]
    row_buffer: tuple[Macro, float] | None


def memories(machine: ArrayDescription, technology: Technology) -> Memories:
    """The memories, from the technology's table.

    Raises:
        InputError: a bank is outside the table.
    """
    table, register = technology.memory, technology.register
    bank = machine.buffer_bytes / machine.buffer_banks
    side = min(_SLICES_A_MACRO, machine.slices)
    row = machine.row_buffer_bytes
    return Memories(
        (table.small(bank, machine.buffer_width_bits, register), machine.buffer_banks),
        (table.small(machine.accumulator_entries * 4 * side, 32 * side, register)
         if side * 32 in table.rows else _apart(machine, technology),
         machine.slices / side if side * 32 in table.rows else machine.slices),
        (table.small(row, 64, register), 1) if row else None,
    )  # fmt: skip


def _apart(machine: ArrayDescription, technology: Technology) -> Macro:
    """A bank of one slice by itself."""
    return technology.memory.small(machine.accumulator_entries * 4, 32, technology.register)


def area(machine: ArrayDescription, technology: Technology) -> Area:
    """Area of every part."""
    operations = technology.costs(machine.precision)
    bits = machine.precision.bits
    array = machine.multiplications_per_cycle
    scaler = operations.multiply.area_um2 + operations.input_add.area_um2
    windows = machine.input_windows * machine.multipliers * max(machine.wide_bits, bits)
    # One for bias a lane, the pools', and those of an output transform at the lanes' rate.
    adders = machine.output_lanes + machine.pooling_adders + machine.transform_adders
    held = memories(machine, technology)
    return Area(
        multipliers=array * operations.multiply.area_um2 * machine.multiplier_width,
        adders=array * operations.add.area_um2
        + machine.slices * (operations.accumulate.area_um2 - operations.add.area_um2),
        registers=technology.register.area_um2_per_bit * (3 * array * bits + windows),
        input_unit=machine.input_adders * operations.input_add.area_um2
        + machine.input_scalers * scaler,
        output_unit=adders * operations.accumulate.area_um2,
        buffer=_macros_area(held.buffer),
        accumulators=_macros_area(held.accumulators),
        row_buffer=_macros_area(held.row_buffer),
    )


def _macros_area(held: tuple[Macro, float] | None) -> float:
    return 0.0 if held is None else held[0].area_um2 * held[1]


def static_power_mw(machine: ArrayDescription, technology: Technology) -> float:
    """Leakage of the memories, and of the logic at the memories' leakage by area.

    The table of operations gives no leakage; transistors of the same type leak about alike by
    area, so that logic is charged as much as memory of the same device type.
    """
    held = memories(machine, technology)
    parts = (held.buffer, held.accumulators, held.row_buffer)
    memory = sum(part[0].leakage_mw * part[1] for part in parts if part is not None)
    return memory + area(machine, technology).logic * technology.memory.leakage_mw_per_um2
