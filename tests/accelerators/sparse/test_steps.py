"""Steps that count as long as their mean, against steps that are walked one by one."""

import math
from dataclasses import replace

import numpy as np
import pytest
from accelerators.array.walk import Walk

from mlcnn.accelerators import LayerTask
from mlcnn.accelerators.array import best_of
from mlcnn.workload import ConvLayer

LAYER = ConvLayer("conv", N=4, K=48, C=64, H=16, W=16, R=3, S=3, pads=(1, 1, 1, 1))


class _Walk(Walk):
    """A layer in a tiling: every tile with the weights that it has."""

    def __init__(self, machine, chosen):
        super().__init__(chosen.work, machine.array, chosen.tiling, chosen.ways, chosen.side)
        self.unit, self.counts = machine.sparsity, self.how.occupancy.counts
        self.stored = chosen.work.precision.bits + self.unit.index_bits

    def compute(self, filters, tile, channels):
        """Turn after turn: the slowest slice of each window, at all positions."""
        array = self.machine
        lines, line = self.spots(tile)
        positions = -(-lines // self.ways) * line
        together = min(self.side, len(filters))
        fill = math.ceil(together * array.multipliers * self.stored / 512)
        turns = -(-len(filters) // self.side)
        interval = max(positions, fill + 2, -(-array.accumulator_latency // turns))
        count = 0
        for first in range(0, len(filters), self.side):
            for window in channels:
                some = filters[first : first + self.side]
                sets = max(-(-self.counts[k, window] // array.multipliers) for k in some)
                count += max(sets, self.how.least)
        return fill + 1 + (count - 1) * interval + positions

    def weights(self, filters, channels):
        some = self.counts[np.ix_(filters, channels)]
        bits = some.sum() * self.stored + some.size * self.unit.count_bits
        beats = math.ceil(bits / 512)
        return beats, beats

    def inputs(self, tile, channels):
        """Beats, and cycles of these or of the basis unit."""
        positions, _ = self.passing(tile)
        beats = positions * math.ceil(len(channels) * self.how.channels / self.lanes)
        if self.how.name == "sparse":
            return beats, beats
        lines, line = self.spots(tile)
        products = lines * line * len(channels) * self.how.words * 9
        return beats, max(beats, math.ceil(products / self.unit.basis_multipliers))

    def sets(self, channels):
        return channels


@pytest.mark.parametrize("bandwidth", [8.0, 64.0])
@pytest.mark.parametrize(("density", "basis"), [(0.05, 0), (0.2, 0), (0.1, 5), (0.3, 3)])
def test_the_mean_is_within_a_few_percent(density, basis, bandwidth, machine, with_zeros):
    machine = replace(machine, array=replace(machine.array, dram_bytes_per_cycle=bandwidth))
    work = machine.skipping(LayerTask(with_zeros(LAYER, density, basis=basis)))
    chosen = best_of((work,), machine.array)
    assert _Walk(machine, chosen).run()[0] == pytest.approx(chosen.cycles, rel=0.03)


@pytest.mark.parametrize("density", [0.05, 0.2, 0.7])
def test_it_is_exact_where_all_steps_compute(density, machine, with_zeros):
    """Where no step waits for anything else, there is nothing to even out."""
    machine = replace(machine, array=replace(machine.array, dram_latency=0))
    work = machine.skipping(LayerTask(with_zeros(LAYER, density)))
    chosen = best_of((work,), machine.array)
    # But the first load: it has the weights of its own tile, some beats from the mean.
    assert _Walk(machine, chosen).run()[0] == pytest.approx(chosen.cycles, abs=8)
