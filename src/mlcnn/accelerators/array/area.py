"""Area and static power of an array."""

from dataclasses import dataclass, fields

from mlcnn.accelerators.array.description import ArrayDescription
from mlcnn.accelerators.technology import Technology
from mlcnn.accelerators.technology.memory import Macro, MemoryTable

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
        registers: two weights and one input a multiplier.
        input_unit: adders of box sums or transforms, and scalers.
        output_unit: bias, and an output transform with the pool behind it.
        buffer: inputs and weights, each by itself.
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
    """The memories of an accelerator, as (macro, number of them); None for a part it lacks.

    A memory that is read and written in the same cycle is two of half the size, one filled while
    the other is read: the tables have no second port. What they leave out is that of the
    accumulators that are added to, which are read and written, and of kept operands, whose ring may
    have both in one half.
    """

    inputs: tuple[Macro, float]
    weights: tuple[Macro, float]
    accumulators: tuple[Macro, float]
    row_buffer: tuple[Macro, float] | None


def memories(machine: ArrayDescription, technology: Technology) -> Memories:
    """The memories, from the technology's table.

    Raises:
        InputError: a bank is outside the table.
    """
    table = technology.memory
    side = min(_SLICES_A_MACRO, machine.slices)
    if side * 32 not in table.rows:
        side = 1
    bank = machine.accumulator_entries * 4 * side
    return Memories(
        _halves(machine.input_bytes, machine.input_banks, machine.input_width_bits, technology),
        _halves(machine.weight_bytes, 1, machine.beat_bytes * 8, technology),
        _halves(bank * machine.slices / side, machine.slices / side, 32 * side, technology),
        _row_buffer(machine, technology),
    )


def _halves(
    size_bytes: float, banks: float, width_bits: int, technology: Technology
) -> tuple[Macro, float]:
    """A memory of banks of two halves each, side by side where no macro is as wide."""
    table, register = technology.memory, technology.register
    beside, width = _side_by_side(width_bits, table)
    each = size_bytes / (2 * banks * beside)
    small = table.small(each, width, register)
    least = table.macro(table.rows[width][0].size_bytes, width)
    # Of flip-flops only where they are smaller than the smallest macro.
    half = least if each < least.size_bytes and least.area_um2 < small.area_um2 else small
    return half, 2 * banks * beside


def _row_buffer(machine: ArrayDescription, technology: Technology) -> tuple[Macro, float] | None:
    """As wide as a beat; a row is read where the one before was written: no halves."""
    row, table = machine.row_buffer_bytes, technology.memory
    if not row:
        return None
    beside, width = _side_by_side(machine.beat_bytes * 8, table)
    return table.small(row / beside, width, technology.register), beside


def _side_by_side(width_bits: int, table: MemoryTable) -> tuple[float, int]:
    """How many macros of which width: the widest of the table; a share of one counts as such."""
    width = max(table.rows)
    fitting = [one for one in sorted(table.rows) if one >= width_bits]
    return (1.0, fitting[0]) if fitting else (width_bits / width, width)


def area(machine: ArrayDescription, technology: Technology) -> Area:
    """Area of every part."""
    operations = technology.costs(machine.precision)
    bits = machine.precision.bits
    array = machine.multiplications_per_cycle
    scaler = operations.multiply.area_um2 + operations.input_add.area_um2
    adders = machine.lanes + machine.transform_adders
    held = memories(machine, technology)
    return Area(
        multipliers=array * operations.multiply.area_um2 * machine.multiplier_width,
        adders=array * operations.add.area_um2
        + machine.slices * (operations.accumulate.area_um2 - operations.add.area_um2),
        registers=technology.register.area_um2_per_bit * 3 * array * bits,
        input_unit=machine.input_adders * operations.input_add.area_um2
        + machine.input_scalers * scaler,
        output_unit=adders * operations.accumulate.area_um2,
        buffer=_macros_area(held.inputs) + _macros_area(held.weights),
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
    parts = (held.inputs, held.weights, held.accumulators, held.row_buffer)
    memory = sum(part[0].leakage_mw * part[1] for part in parts if part is not None)
    return memory + area(machine, technology).logic * technology.memory.leakage_mw_per_um2
