"""The model that tilings are searched with, beside the closed form that the hardware is held to."""

from dataclasses import replace

import numpy as np
import pytest
from accelerators.array.walk import every

from mlcnn.accelerators import LayerTask
from mlcnn.accelerators.array import Tiling, load_array
from mlcnn.accelerators.array.cutting import tilings
from mlcnn.errors import InfeasibleError, InputError
from mlcnn.rtl.build import Build
from mlcnn.rtl.layer import IntegerLayer
from mlcnn.rtl.program import configure
from mlcnn.rtl.tiling import LayerTiling
from mlcnn.rtl.timing import layer_cycles
from mlcnn.workload import ConvLayer, Layer, Pool

BUILD = Build(
    slices=16, ways=4, positions=4096, weight_beats=4096, entries=512, row_columns=4096,
    filters=1024,
)  # fmt: skip
LATENCY, ACKNOWLEDGED = 7, 5
POOL = Pool((2, 2), (2, 2))
LAYERS = {
    "pooled": ConvLayer("pooled", 1, 24, 256, 13, 9, 3, 3, pads=(1, 1, 1, 1), pool=POOL),
    "strided": ConvLayer("strided", 1, 40, 128, 11, 15, 3, 5, strides=(2, 1), pads=(1, 2, 1, 2)),
    "dense": ConvLayer("dense", 1, 96, 256, 1, 1, 1, 1),
    "overlapping": ConvLayer("overlapping", 1, 48, 128, 10, 10, 2, 2, pool=Pool((3, 3), (2, 2))),
}


def whole_numbers(layer: ConvLayer, *, fused: bool) -> IntegerLayer:
    """The same geometry for the hardware."""
    pool = layer.pool or Pool((1, 1), (1, 1))
    rows, columns, *_ = layer.pads
    filters = np.zeros(layer.K, np.int64)
    return IntegerLayer(
        layer.name, np.zeros((layer.K, layer.C, layer.R, layer.S), np.int64), filters, filters,
        filters, (layer.C, layer.H, layer.W), layer.strides, (rows, rows, columns, columns),
        pool.kernel, pool.strides, fused,
    )  # fmt: skip


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_cycles_of_every_tiling_are_those_of_the_hardware(layer: ConvLayer) -> None:
    """Of every tiling that the hardware has: whole blocks of channels, and nothing kept."""
    machine = replace(
        load_array("mlcnn-int8"), slices=BUILD.slices, most_ways=BUILD.ways,
        accumulator_entries=2 * BUILD.entries, input_bytes=10**7, weight_bytes=10**7,
        row_buffer_bytes=10**6, dram_latency=LATENCY, write_latency=ACKNOWLEDGED,
    )  # fmt: skip
    hardware, compared = BUILD.hardware(LATENCY, ACKNOWLEDGED), 0
    for work in machine.ways(LayerTask(Layer(layer))):
        if work.execution.fused and layer.pool != POOL:
            continue  # the input unit of this hardware sums 2x2 windows
        _, some, plan = every(work, machine)
        t = tilings(work)
        same = whole_numbers(layer, fused=work.execution.fused)
        for index in np.flatnonzero(np.isfinite(plan.cycles)).tolist():
            tiling = t.choices[int(some[index])]
            ways, side = int(plan.split.ways[index]), int(plan.split.side[index])
            chunk = tiling.input_channels
            if side * ways != BUILD.slices or (chunk % 64 and chunk != layer.C):
                continue
            if tiling.keep and _inner(layer, tiling) > 1:
                continue
            told = LayerTiling(
                tiling.rows, tiling.columns, tiling.output_channels, chunk, ways,
                weights_outer=tiling.weights_outer,
            )  # fmt: skip
            try:
                configuration = configure(same, told, BUILD)
            except (InfeasibleError, InputError):
                continue  # no tiling of the hardware
            assert plan.cycles[index] == layer_cycles(configuration, hardware), told
            compared += 1
    assert compared > 20


def _inner(layer: ConvLayer, tiling: Tiling) -> int:
    """Iterations of the inner loop, while which an outer operand could be kept."""
    rows, columns = layer.pooled
    places = -(-rows // tiling.rows) * -(-columns // tiling.columns)
    return places if tiling.weights_outer else -(-layer.K // tiling.output_channels)
