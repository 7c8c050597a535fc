"""Steps that count as long as their mean, against steps that are walked one by one."""

import math
from dataclasses import replace

import numpy as np
import pytest

from mlcnn.accelerators import LayerTask
from mlcnn.accelerators.array import best_of
from mlcnn.accelerators.array.cutting import tilings
from mlcnn.accelerators.array.cycles import leave_time
from mlcnn.accelerators.array.parameters import Parameters
from mlcnn.workload import ConvLayer

LAYER = ConvLayer("conv", N=4, K=48, C=64, H=16, W=16, R=3, S=3, pads=(1, 1, 1, 1))


class _Walk:
    """A layer in a tiling: every tile with the weights that it has."""

    def __init__(self, machine, chosen):
        self.array, self.unit, self.chosen = machine.array, machine.sparsity, chosen
        self.work, self.tiling, self.how = chosen.work, chosen.tiling, chosen.work.execution
        self.rows = self.work.rows.tiles(self.tiling.rows)
        self.columns = self.work.columns.tiles(self.tiling.columns)
        self.counts = self.how.occupancy.counts

    def compute(self, tile, chunk):
        """Turn after turn: the slowest slice of each window, at all positions."""
        tiling, array, ways = self.tiling, self.array, self.chosen.ways
        side = min(max(array.slices // ways, 1), tiling.output_channels)
        positions = -(-tiling.images * self.rows.positions // ways) * self.columns.positions
        stored = array.multipliers * (32 + self.unit.index_bits) / 32
        positions = max(positions, math.ceil(stored / array.weight_words))
        cycles = 0
        for first in range(0, len(tile), side):
            for window in chunk:
                sets = max(-(-self.counts[k, window] // 9) for k in tile[first : first + side])
                cycles += max(sets, self.how.least) * positions
        return cycles

    def weights(self, tile, chunk):
        some = self.counts[np.ix_(tile, chunk)]
        return (some.sum() * (32 + self.unit.index_bits) + some.size * self.unit.count_bits) / 8

    def inputs(self, chunk):
        """Bytes, and cycles of the basis unit."""
        words = self.tiling.images * self.rows.inputs * self.columns.inputs * len(chunk)
        words *= self.how.channels
        if self.how.name == "sparse":
            return words * 4, 0
        maps = self.tiling.images * self.rows.stored * self.columns.stored * len(chunk)
        unit = math.ceil(maps * self.how.words * 9 / self.unit.basis_multipliers)
        return words * 4, max(unit, math.ceil(words / self.array.input_lanes))

    def steps(self):
        """(cycles, bytes and cycles of the unit before it, whether a tile is done)."""
        nest, tiling = self.work.layer, self.tiling
        places = range(-(-nest.N // tiling.images) * self.rows.tiles * self.columns.tiles)
        filters, windows = range(nest.K), range(nest.C)
        tiles = [
            filters[at : at + tiling.output_channels] for at in filters[:: tiling.output_channels]
        ]
        chunks = [
            windows[at : at + tiling.input_channels] for at in windows[:: tiling.input_channels]
        ]
        outer = tiles if tiling.weights_outer else places
        kept = tiling.keep or len(chunks) == 1
        for one in outer:
            for number, other in enumerate(places if tiling.weights_outer else tiles):
                tile, again = one if tiling.weights_outer else other, number and kept
                for chunk in chunks:
                    moved, unit = self.inputs(chunk)
                    weights = self.weights(tile, chunk)
                    if again and tiling.weights_outer:
                        weights = 0
                    elif again:
                        moved = unit = 0
                    yield self.compute(tile, chunk), moved + weights, unit, chunk is chunks[-1]

    def run(self):
        steps, width = list(self.steps()), self.array.dram_bytes_per_cycle
        t, p = tilings(self.work), Parameters.of((self.array,))
        at = next(i for i in range(len(t.choices)) if t.choices[i] == self.tiling)
        leave = float(leave_time(self.work, t.take(np.array([at])), p.take(np.array([0])))[0])
        tile = self.tiling.images * self.tiling.rows * self.tiling.columns
        tile *= self.tiling.output_channels * 4
        total, finished = max(math.ceil(steps[0][1] / width), steps[0][2]), False
        for number, (cycles, _, _, done) in enumerate(steps):
            _, moved, unit, _ = steps[number + 1] if number + 1 < len(steps) else (0, 0, 0, False)
            dram = math.ceil((moved + (tile if finished else 0)) / width)
            total, finished = total + max(cycles, dram, unit, leave if finished else 0), done
        return total + max(leave, math.ceil(tile / width))


@pytest.mark.parametrize("bandwidth", [8.0, 64.0])
@pytest.mark.parametrize(("density", "basis"), [(0.05, 0), (0.2, 0), (0.1, 5), (0.3, 3)])
def test_the_mean_is_within_a_few_percent(density, basis, bandwidth, machine, with_zeros):
    machine = replace(machine, array=replace(machine.array, dram_bytes_per_cycle=bandwidth))
    work = machine.skipping(LayerTask(with_zeros(LAYER, density, basis=basis)))
    chosen = best_of((work,), machine.array)
    assert _Walk(machine, chosen).run() == pytest.approx(chosen.cycles, rel=0.03)


@pytest.mark.parametrize("density", [0.05, 0.2, 0.7])
def test_it_is_exact_where_all_steps_compute(density, machine, with_zeros):
    """Where no step waits for anything else, there is nothing to even out."""
    machine = replace(machine, array=replace(machine.array, dram_bytes_per_cycle=1e6))
    work = machine.skipping(LayerTask(with_zeros(LAYER, density)))
    chosen = best_of((work,), machine.array)
    assert _Walk(machine, chosen).run() == pytest.approx(chosen.cycles, rel=1e-9)
