"""Area of what leaves out zeros and forms shared kernels, beside the array's own."""

from dataclasses import dataclass

from mlcnn.accelerators.array import ArrayDescription
from mlcnn.accelerators.sparse.unit import Sparsity
from mlcnn.accelerators.technology import Technology

__all__ = ["SparseArea", "sparse_area"]


@dataclass(frozen=True, slots=True)
class SparseArea:
    """Square micrometres by part.

    Attributes:
        selectors: multiplexers, from a window to each multiplier.
        weights: registers of the non-zeros of a window, twice: one in use and one being filled.
        windows: registers of the windows. The sets of a window take turns over as many positions
            as an accumulator entry needs before it can be added to again.
        basis: multipliers, adders and weight registers of the basis unit.
    """

    selectors: float
    weights: float
    windows: float
    basis: float

    @property
    def total(self) -> float:
        """All parts."""
        return self.selectors + self.weights + self.windows + self.basis


def sparse_area(unit: Sparsity, array: ArrayDescription, technology: Technology) -> SparseArea:
    """What is added to the area of the array.

    Args:
        unit: windows, indices and basis unit.
        array: the array; its own registers of weights and windows stay beside these.
        technology: the tables.

    Raises:
        InputError: the tables have no multiplexers.
    """
    costs, bits = technology.costs(array.precision), array.precision.bits
    register = technology.register.area_um2_per_bit
    selectors = array.multiplications_per_cycle * unit.selectors * bits
    slots = 2 * array.slices * unit.window_words * (bits + unit.index_bits)
    windows = array.most_ways * array.accumulator_latency * unit.window_words * bits
    each = costs.multiply.area_um2 + costs.add.area_um2 + 2 * bits * register
    return SparseArea(
        selectors=selectors * technology.selecting().area_um2_per_bit,
        weights=slots * register,
        windows=windows * register,
        basis=unit.basis_multipliers * each,
    )
