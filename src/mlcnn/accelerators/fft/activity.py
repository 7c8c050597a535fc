"""What the core does for a layer: transforms both ways, and the sums beside them."""

from dataclasses import dataclass

from mlcnn.accelerators.array import ArrayDescription, Chosen
from mlcnn.accelerators.array.traffic import loops
from mlcnn.accelerators.fft.core import Core
from mlcnn.accelerators.fft.spectral import Spectral
from mlcnn.accelerators.fft.transform import complex_bins, whole
from mlcnn.workload import Operations

__all__ = ["Activity", "activity"]


@dataclass(frozen=True, slots=True)
class Activity:
    """Blocks that pass the core, edge tiles and reloads included.

    Attributes:
        core: the FFT core.
        block: points of each.
        transformed: blocks of inputs.
        inverted: blocks of outputs.
        weights: spectra of weights that come in.
    """

    core: Core
    block: int
    transformed: int
    inverted: int
    weights: int

    @property
    def blocks(self) -> int:
        """Both ways."""
        return self.transformed + self.inverted

    @property
    def sums_before(self) -> int:
        """Additions that form the three factors of a bin from its parts."""
        if self.core.products == 4:
            return 0
        return complex_bins(self.block) * (self.transformed + 2 * self.weights)

    @property
    def sums_behind(self) -> int:
        """Additions that form a bin from its three sums."""
        return 0 if self.core.products == 4 else 2 * complex_bins(self.block) * self.inverted

    @property
    def operations(self) -> Operations:
        """Multiplications and additions of all these."""
        sums = Operations(additions=self.sums_before + self.sums_behind)
        return self.blocks * whole(self.block) + sums


def activity(chosen: Chosen, execution: Spectral, array: ArrayDescription) -> Activity:
    """What passes the core in a tiling.

    Args:
        chosen: the layer and its tiling.
        execution: how it runs.
        array: the array behind the core.
    """
    nest, c = chosen.work.layer, loops(chosen.work, chosen.tiling, array, chosen.side)
    return Activity(
        execution.core,
        execution.points,
        nest.N * nest.C * c.rows.all_stored * c.columns.all_stored * c.input_reloads,
        nest.N * nest.K * c.rows.all_positions * c.columns.all_positions,
        nest.weights * c.weight_reloads,
    )
