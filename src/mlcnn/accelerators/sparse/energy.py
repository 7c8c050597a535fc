"""Energy of what leaves out zeros and forms shared kernels, beside the array's own."""

from dataclasses import dataclass

from mlcnn.accelerators.array import ArrayDescription, Chosen
from mlcnn.accelerators.array.area import memories
from mlcnn.accelerators.array.energy import per_byte
from mlcnn.accelerators.array.traffic import loops, operations
from mlcnn.accelerators.cost import Energy
from mlcnn.accelerators.sparse.area import sparse_area
from mlcnn.accelerators.sparse.execution import Skipping, SkippingMaps
from mlcnn.accelerators.sparse.unit import Sparsity
from mlcnn.accelerators.technology import Technology

__all__ = ["Activity", "activity", "sparse_energy"]


@dataclass(frozen=True, slots=True)
class Activity:
    """What a layer has of it, edge tiles and reloads included.

    Attributes:
        selected: products: each selects a weight, by its index an input.
        basis_products: multiplications of the basis unit.
        basis_additions: its additions.
        row_words: words that its row buffer takes and gives, both ways together.
    """

    selected: int = 0
    basis_products: int = 0
    basis_additions: int = 0
    row_words: int = 0


def activity(chosen: Chosen, execution: Skipping, array: ArrayDescription) -> Activity:
    """What a layer takes in a tiling.

    Args:
        chosen: the layer and its tiling.
        execution: how it runs.
        array: the array.
    """
    work, tiling = chosen.work, chosen.tiling
    selected = operations(work, tiling, array, chosen.ways, chosen.side).multiplications
    if not isinstance(execution, SkippingMaps):
        return Activity(selected)
    c, nest = loops(work, tiling, array, chosen.side), work.layer
    windows = nest.N * nest.C * c.input_reloads
    maps = windows * c.rows.all_stored * c.columns.all_stored * execution.words
    inputs = windows * c.rows.all_inputs * c.columns.all_inputs * execution.channels
    # Each input is written once, and read for every row of kernels that it lies above.
    return Activity(
        selected,
        round(maps * execution.area),
        round(maps * (execution.area - 1)),
        round(inputs * nest.R) if nest.R > 1 else 0,
    )


def sparse_energy(
    done: Activity,
    unit: Sparsity,
    array: ArrayDescription,
    technology: Technology,
    cycles: float,
) -> Energy:
    """What is added to the energy of the array.

    Args:
        done: what a layer has of it; nothing, for one that runs with its zeros.
        unit: windows, indices and basis unit.
        array: the array.
        technology: the tables.
        cycles: time, in which its area leaks as much as memory of that area.
    """
    costs, bits = technology.costs(array.precision), array.precision.bits
    register, selector = technology.register, technology.selecting()
    # A weight and its index leave their registers for each product, and pass on the input.
    each = (bits + unit.index_bits) * register.energy_pj_per_bit
    each += unit.levels * bits * selector.energy_pj_per_bit
    mac = done.basis_products * costs.multiply.energy_pj
    mac += done.basis_additions * costs.add.energy_pj
    size = sparse_area(unit, array, technology).total
    leaking = technology.memory.leakage_mw_per_um2 * size
    return Energy(
        buffer=done.selected * each + _rows(done, array, technology),
        mac=mac,
        static=leaking * cycles * 1e3 / array.clock_mhz,
    )


def _rows(done: Activity, array: ArrayDescription, technology: Technology) -> float:
    """Words in and out of the row buffer, and of the window of the basis unit."""
    row = memories(array, technology).row_buffer
    if row is None or not done.row_words:
        return 0.0
    read, write = per_byte(row[0])
    registers = 8 * technology.register.energy_pj_per_bit
    return done.row_words * array.precision.bits / 8 * ((read + write) / 2 + registers)
