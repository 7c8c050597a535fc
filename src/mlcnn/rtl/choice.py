"""The fastest tile of a layer, among those that fit into what is built."""

from collections.abc import Iterator
from itertools import product

from mlcnn.accelerators.array.steps import Hardware
from mlcnn.errors import InfeasibleError
from mlcnn.rtl.build import Build
from mlcnn.rtl.configuration import Configuration
from mlcnn.rtl.layer import IntegerLayer
from mlcnn.rtl.program import configure
from mlcnn.rtl.tiling import LayerTiling, check_layer
from mlcnn.rtl.timing import layer_cycles

__all__ = ["choose"]


def choose(layer: IntegerLayer, build: Build, hardware: Hardware) -> LayerTiling:
    """The fastest tiling of a layer, among tiles of even sizes that fit.

    Args:
        layer: what to run.
        build: what is built.
        hardware: the same, with its memory; see ``Build.hardware``.

    Raises:
        InputError: see ``check_layer``.
        UnsupportedError: see ``check_layer``.
        InfeasibleError: not even the smallest tile fits; with demand, capacity and lever.
    """
    check_layer(layer)
    timed = [
        (layer_cycles(configuration, hardware), number, tiling)
        for number, tiling in enumerate(_candidates(layer, build))
        if (configuration := _configured(layer, tiling, build)) is not None
    ]
    if not timed:  # the smallest was among them: what it takes too much of is the reason
        configure(layer, _smallest(layer, build), build).words()
    return min(timed)[2]


def _candidates(layer: IntegerLayer, build: Build) -> Iterator[LayerTiling]:
    """Tiles to try: lines in even parts, the other axes halved."""
    filters, channels, *_ = layer.weights.shape
    down, along = layer.outputs
    lines = sorted({-(-down // parts) for parts in range(1, down + 1)}, reverse=True)
    for log2 in range(min(build.ways, build.slices).bit_length()):
        ways = 1 << log2
        sizes = product(
            lines,
            _halves(along, 1),
            _halves(filters, build.slices // ways),
            _halves(channels, build.lanes),
        )
        for line_count, line, kernels, chunk in sizes:
            for outer in (False, True) if kernels < filters else (False,):
                yield LayerTiling(line_count, line, kernels, chunk, ways, outer)


def _smallest(layer: IntegerLayer, build: Build) -> LayerTiling:
    """The tile that takes the least of everything."""
    filters, channels, *_ = layer.weights.shape
    ways = min(build.ways, build.slices)
    return LayerTiling(1, 1, min(filters, build.slices // ways), min(channels, build.lanes), ways)


def _halves(size: int, multiple: int) -> list[int]:
    """A size, and a multiple doubled as long as it is smaller; the largest first."""
    found = [multiple << doubled for doubled in range(size.bit_length())]
    return [size, *(part for part in reversed(found) if part < size)]


def _configured(layer: IntegerLayer, tiling: LayerTiling, build: Build) -> Configuration | None:
    """The configuration of a tile; None where it does not fit, or a number has no place."""
    try:
        configuration = configure(layer, tiling, build)
        configuration.words()
    except InfeasibleError:
        return None
    return configuration
