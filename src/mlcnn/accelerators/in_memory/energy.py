"""Energy and area of an engine: what each thing takes that a layer does."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from mlcnn.accelerators.in_memory.description import EngineDescription
from mlcnn.accelerators.in_memory.mapping import Counts
from mlcnn.accelerators.in_memory.work import Products
from mlcnn.accelerators.precision import Precision
from mlcnn.accelerators.technology import Technology

__all__ = ["LATCHES", "PARTS", "EngineArea", "Prices", "energies", "engine_area"]

Floats = NDArray[np.float64]

PARTS = {
    "sensing": "mac", "counting": "mac", "shifting": "mac", "adding": "mac", "quantising": "mac",
    "writing": "buffer", "accumulators": "buffer", "buffer": "buffer", "dram": "dram",
    "latching": "mac", "leakage": "static",
}  # fmt: skip
"""Parts of the energy, and the part of ``Energy`` that each belongs to."""

LATCHES = 4
"""Of a column that compares: where two bits differ, not yet decided, larger, and what leaves."""

_SUM_BITS = 32


@dataclass(frozen=True, slots=True)
class EngineArea:
    """Square micrometres by part. Control, clock tree and wires are not counted.

    Attributes:
        arrays: sub-arrays with their sense amplifiers.
        counters: trees of full adders, one for each column.
        latches: of the columns, where these compare.
        accumulators: shifters, adders and registers of the segments.
        output_unit: adders of slices, biases and thresholds.
        input_unit: adders of box sums.
        buffer: inputs and weights.
    """

    arrays: float
    counters: float
    latches: float
    accumulators: float
    output_unit: float
    input_unit: float
    buffer: float

    @property
    def total(self) -> float:
        """All parts."""
        return math.fsum(getattr(self, field.name) for field in fields(self))

    @property
    def logic(self) -> float:
        """What is neither cells nor buffer."""
        return self.total - self.arrays - self.buffer


def engine_area(engine: EngineDescription, technology: Technology) -> EngineArea:
    """Area of every part.

    Raises:
        InputError: the buffer is outside the tables.
    """
    add, columns = technology.costs(Precision.INT8), engine.arrays * engine.columns
    each = add.accumulate.area_um2 + _SUM_BITS * (
        technology.register.area_um2_per_bit + technology.selecting().area_um2_per_bit
    )
    bank = engine.bank(technology)
    return EngineArea(
        arrays=engine.arrays * engine.sub_array.area_um2,
        counters=columns * technology.adding().area_um2_per_bit,
        latches=columns * LATCHES * technology.register.area_um2_per_bit if engine.compares else 0,
        accumulators=engine.arrays * engine.segments * each,
        output_unit=engine.output_lanes * 3 * add.accumulate.area_um2,
        input_unit=engine.input_adders * add.input_add.area_um2,
        buffer=bank.area_um2 * engine.buffer_banks,
    )


@dataclass(frozen=True, slots=True)
class Prices:
    """What things take on several machines, in pJ; arrays of shape (machines, 1).

    Attributes:
        sense: of two rows.
        write: of a bit.
        count: of a bit that is counted.
        shift: of a sum.
        accumulator: of a sum that is added to what its register holds.
        add: of two sums.
        input_add: of two inputs.
        sent: of a bit that leaves the buffer.
        filled: of a bit that is written into it.
        dram: of a bit.
        latch: of a bit.
        leak: of a cycle.
    """

    sense: Floats
    write: Floats
    count: Floats
    shift: Floats
    accumulator: Floats
    add: Floats
    input_add: Floats
    sent: Floats
    filled: Floats
    dram: Floats
    latch: Floats
    leak: Floats

    @classmethod
    def of(cls, engines: Sequence[EngineDescription], technology: Technology) -> "Prices":
        """Gather those of several machines."""
        rows = [_prices(engine, technology) for engine in engines]
        return cls(*(np.array(column)[:, None] for column in zip(*rows, strict=True)))


def _prices(engine: EngineDescription, technology: Technology) -> tuple[float, ...]:
    add, bank, array = technology.costs(Precision.INT8), engine.bank(technology), engine.sub_array
    registers = 2 * _SUM_BITS * technology.register.energy_pj_per_bit
    memory = technology.memory.leakage_mw_per_um2 * engine_area(engine, technology).logic
    leak_mw = engine.arrays * array.leak_uw / 1e3 + engine.buffer_banks * bank.leakage_mw + memory
    return (
        array.both_pj, array.write_pj, technology.adding().energy_pj_per_bit,
        _SUM_BITS * technology.selecting().energy_pj_per_bit, registers,
        add.accumulate.energy_pj, add.input_add.energy_pj, bank.read_pj / bank.width_bits,
        bank.write_pj / bank.width_bits, technology.dram.pj_per_bit,
        technology.register.energy_pj_per_bit, leak_mw * 1e3 / engine.clock_mhz,
    )  # fmt: skip


def energies(work: Products, done: Counts, prices: Prices, cycles: Floats) -> Mapping[str, Floats]:
    """Energy by ``PARTS``, in pJ.

    A threshold for each bit of an output, found by halving, is one addition, and so is the bias.

    Args:
        work: the layer.
        done: what it does.
        prices: what that takes.
        cycles: time.
    """
    additions = done.sums + done.merged + work.pool_additions
    thresholds = work.outputs + work.written_bits
    loaded = done.dram_weight_bits + done.dram_input_bits
    fills = np.maximum(np.ceil(done.dram_input_bits / work.loaded_bits), 1)
    filled = done.dram_weight_bits + work.stored_inputs * work.input_bits * fills
    return {
        "sensing": done.senses * prices.sense,
        "counting": done.counted_bits * prices.count,
        "shifting": done.sums * prices.shift,
        "adding": additions * prices.add + work.input_additions * prices.input_add,
        "quantising": thresholds * prices.add,
        "writing": (done.filter_bits + done.window_bits) * prices.write,
        "accumulators": done.sums * prices.accumulator,
        "buffer": done.sent_bits * prices.sent + filled * prices.filled,
        "dram": (loaded + work.written_bits) * prices.dram,
        "leakage": cycles * prices.leak,
    }
