"""The sparse array as a machine: an array of slices that leave out zeros where that is faster."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlcnn.accelerators.array import SLACK, Array, Chosen, best_of, cost_of, refused
from mlcnn.accelerators.array.work import Work
from mlcnn.accelerators.cost import LayerCost, LayerTask
from mlcnn.accelerators.machine import Infeasible
from mlcnn.accelerators.precision import Precision
from mlcnn.accelerators.sparse.area import sparse_area
from mlcnn.accelerators.sparse.energy import Activity, activity, sparse_energy
from mlcnn.accelerators.sparse.execution import Skipping, SkippingMaps, renewed_words
from mlcnn.accelerators.sparse.occupancy import Occupancy
from mlcnn.accelerators.sparse.unit import Sparsity
from mlcnn.accelerators.technology import Technology
from mlcnn.errors import InfeasibleError, InputError
from mlcnn.ops.shared_kernels import KIND, kept
from mlcnn.workload import DENSE, ConvLayer, Layer

__all__ = ["SparseArray"]

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SparseArray:
    """An array of slices that leave out zeros, with or without a unit that forms shared kernels.

    Attributes:
        array: what runs dense layers, and whose slices leave out zeros.
        sparsity: what that takes.
    """

    array: Array
    sparsity: Sparsity

    def __post_init__(self) -> None:
        where = f"accelerator {self.name}"
        self.sparsity.check(where)
        wanted, width = self._port_bits, self.array.input_banks * self.array.input_width_bits
        if wanted > width:
            raise InputError(
                f"{where}: windows take {wanted} bits a cycle of the memory of inputs, and its "
                f"banks deliver {width}: widen them (input_buffer banks, width_bits), or ask for "
                "less (sparsity port_words, array ways)"
            )
        if self.sparsity.basis_multipliers and not self.array.row_buffer_bytes:
            raise InputError(
                f"{where}: its basis unit needs rows of inputs that wait for those below them, and "
                "row_buffer_bytes is 0"
            )

    @property
    def _port_bits(self) -> int:
        """Bits a cycle of the windows of all ways."""
        return self.sparsity.port_words * self.array.most_ways * self.array.precision.bits

    @property
    def name(self) -> str:
        """What results call it."""
        return self.array.name

    @property
    def clock_mhz(self) -> float:
        """Clock of all of it."""
        return self.array.clock_mhz

    @property
    def precision(self) -> Precision:
        """Of weights and activations."""
        return self.array.precision

    def ways(self, task: LayerTask) -> tuple[Work, ...]:
        """Every way in which it can run a layer: without its zeros if it has any, and as dense."""
        sparse = self.skipping(task) if task.layer.density < 1 else None
        dense = self.array.ways(task)
        return dense if sparse is None else (sparse, *dense)

    def skipping(self, task: LayerTask) -> Work | None:
        """A layer without its zeros; None where its mask, or a window for it, is not to be had."""
        layer = task.layer
        if layer.weights == DENSE:
            return self._skipping(task, _kept(layer))
        if layer.weights.kind == KIND and self.sparsity.basis_multipliers:
            return self._on_maps(task, kept(layer))
        return None

    def _skipping(self, task: LayerTask, mask: Bools | None) -> Work | None:
        nest = task.nest
        channels = self.sparsity.channels(nest.kernel_area, nest.C // nest.G)
        if mask is None or not channels:
            return None
        renewed = channels * renewed_words(nest, nest.strides[1])
        execution = Skipping(*self._parts(mask, nest, channels, renewed))
        return self._work(task, execution)

    def _on_maps(self, task: LayerTask, mask: Bools | None) -> Work | None:
        nest = task.nest
        basis = 0 if mask is None else mask.shape[2]
        channels = self.sparsity.channels(basis, nest.C // nest.G) if basis else 0
        if mask is None or not channels:
            return None
        parts = self._parts(mask, nest, channels, channels * basis)
        return self._work(task, SkippingMaps(*parts, basis, nest.kernel_area))

    def _parts(
        self, mask: Bools, nest: ConvLayer, channels: int, renewed: int
    ) -> tuple[Sparsity, int, int, float, int, Occupancy]:
        least = math.ceil(renewed / self.sparsity.port_words)
        occupancy = Occupancy.of(mask, channels, nest.G)
        mean, bits = nest.C / nest.G / occupancy.windows, self.precision.bits
        return self.sparsity, self.array.multipliers, bits, mean, least, occupancy

    def _work(self, task: LayerTask, execution: Skipping) -> Work:
        occupancy = execution.occupancy
        nest = replace(task.nest, C=occupancy.groups * occupancy.windows)
        return Work(nest, self.precision, execution, scaled=task.scaled)

    def takes(self, layer: Layer) -> Infeasible | None:
        """See ``Machine``: dense weights or shared kernels, and what an array takes."""
        why = self.array.unknown(_dense(layer))
        return refused(self.ways(LayerTask(layer)), self.array) if why is None else why

    def cost(self, task: LayerTask, technology: Technology) -> LayerCost:
        """See ``Machine``; of ways that are about as fast, the one with least DRAM traffic."""
        if (why := self.array.unknown(_dense(task.layer))) is not None:
            raise InfeasibleError(str(why))
        ways = self.ways(task)
        least = best_of(ways, self.array).cycles * (1 + SLACK)
        found = [best_of((work,), self.array) for work in ways if self._fits(work)]
        quick = [chosen for chosen in found if chosen.cycles <= least]
        fewest = min(quick, key=lambda chosen: (chosen.dram_bytes, chosen.cycles))
        return self._cost_of(fewest, task.layer, technology)

    def _fits(self, work: Work) -> bool:
        return refused((work,), self.array) is None

    def cost_without_zeros(self, task: LayerTask, technology: Technology) -> LayerCost:
        """Cost of a layer without its zeros, even where dense is faster.

        Args:
            task: the layer.
            technology: the tables.

        Raises:
            InfeasibleError: it cannot run that way.
        """
        work = self.skipping(task)
        if work is None:
            raise InfeasibleError(
                f"{task.nest.name} on {self.name}: its zeros are not known, its weights are no "
                "dense ones or shared kernels, or a window does not hold one channel"
            )
        return self._cost_of(best_of((work,), self.array), task.layer, technology)

    def _cost_of(self, chosen: Chosen, layer: Layer, technology: Technology) -> LayerCost:
        found = cost_of(chosen, self.array, technology)
        execution = chosen.work.execution
        if isinstance(execution, Skipping):
            done = activity(chosen, execution, self.array)
            shown = _shown(chosen, execution, layer, done)
        else:
            done, shown = Activity(), dict[str, object]()
        added = sparse_energy(done, self.sparsity, self.array, technology, found.cycles)
        return replace(
            found,
            multiplications=found.multiplications + done.basis_products,
            additions=found.additions + done.basis_additions,
            energy=found.energy + added,
            skips_zeros=isinstance(execution, Skipping),
            mapping={**found.mapping, **shown},
        )

    def area(self, technology: Technology) -> float:
        """See ``Machine``; ``mlcnn.accelerators.sparse.sparse_area`` gives what it adds."""
        whole = self.array.area(technology)
        return whole + sparse_area(self.sparsity, self.array, technology).total


def _shown(chosen: Chosen, execution: Skipping, layer: Layer, done: Activity) -> dict[str, object]:
    """What of the result comes from the mask, as every slice sees it."""
    occupancy, unit = execution.occupancy, execution.unit
    filters = chosen.tiling.output_channels
    side = min(chosen.side, filters)
    places = occupancy.total * unit.index_bits
    return {
        "density": layer.density,
        "balance": occupancy.balance(execution.multipliers, filters, side),
        "windows": occupancy.groups * occupancy.windows,
        "weight_bytes": execution.stored_bits_of_weights / 8,
        "index_bytes": places / 8,
        "basis_products": done.basis_products,
    }


def _kept(layer: Layer) -> Bools | None:
    """Which weights are not zero, shape (K, C / G, R S)."""
    nest = layer.nest
    shape = nest.K, nest.C // nest.G, nest.kernel_area
    return None if layer.mask is None else layer.mask.kept(*shape)


def _dense(layer: Layer) -> Layer:
    """A layer of shared kernels as the dense one that it stands for; any other as it is."""
    if layer.weights.kind != KIND:
        return layer
    return replace(layer, weights=DENSE, form=None, parts=(layer.nest,))
