"""Layers that compare and add beside what is published of them.

Of [CMP-PIM] (DAC 2018) there is an abstract: no network, no bits, no machine of the baseline. So
its ratios stand beside every configuration that could be meant, in two public tables of operations,
and on our engine; the layer itself is our reconstruction, and nothing is fitted to a published
result. The networks are those of [LBCNN] for SVHN, as its code has them.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mlcnn.accelerators import (
    DEFAULT_TECHNOLOGY,
    LayerTask,
    Technology,
    load_accelerator,
    load_technology,
)
from mlcnn.accelerators.array import Array
from mlcnn.accelerators.cost import Costs
from mlcnn.accelerators.loading import load_machine_of
from mlcnn.ops.comparator import KIND
from mlcnn.reproduce.reproduction import Beside, Cell, Reproduction, Tell, number, published_rows
from mlcnn.workload import Arithmetic, ConvLayer, Layer, Numbers, Weights

__all__ = ["reproduce_cmp_pim"]

_CHANNELS, _FILTERS, _TAPS, _SIDE = 16, 512, 9, 32
_PAIRS = 4
_SPARSITY = 0.9
_ENGINE = "cmp-pim"
_CODE = 8


@dataclass(frozen=True, slots=True)
class _Operations:
    """A public table, in pJ.

    Attributes:
        name: what the rows call it.
        multiply: of each baseline.
        accumulate: of each baseline.
        add: of each adder.
        compare: beside each adder.
        source: where the numbers are from.
    """

    name: str
    multiply: Mapping[str, float]
    accumulate: Mapping[str, float]
    add: Mapping[str, float]
    compare: Mapping[str, float]
    source: str


_TABLES = (
    _Operations(
        "Horowitz, 45 nm",
        {"FP32": 3.7, "INT8": 0.2},
        {"FP32": 0.9, "INT8": 0.1},
        {"FP32": 0.9, "INT32": 0.1, "INT16": 0.05},
        {"FP32": 0.1, "INT32": 0.1, "INT16": 0.05},
        "ISSCC 2014, Fig. 1.1.9; products of INT8 accumulate in 32 bits; a comparison is a "
        "subtraction of integers as wide as the adder",
    ),
    _Operations(
        "Aladdin, 40 nm, 1 ns",
        {"FP32": 35.3, "INT32": 12.68},
        {"FP32": 16.7, "INT32": 0.21},
        {"FP32": 16.7, "INT32": 0.21},
        {"FP32": 0.0295, "INT32": 0.0295},
        "tables of Shao et al., ISCA 2014, as in accelergy-aladdin-plug-in; 32 bits alone, with a "
        "comparator",
    ),
)


@dataclass(frozen=True, slots=True)
class _Block:
    """A CNN's layers and what stands for them, as operations of a position.

    Attributes:
        name: what the rows call it.
        products: of the CNN: a product and an addition each.
        binary: of the LBCNN: additions by taps of -1 and 1, and products; None where it has none.
        comparisons: of the comparator network.
        additions: likewise, a bias for each output among them.
    """

    name: str
    products: int
    binary: tuple[float, int] | None
    comparisons: int
    additions: int


def _blocks() -> tuple[_Block, ...]:
    wide, point = _TAPS * _CHANNELS * _FILTERS, _FILTERS * _CHANNELS
    # Taps are drawn with replacement: so many of them are not zero.
    share = 1 - math.exp(-_SPARSITY)
    maps = _PAIRS * _CHANNELS
    return (
        _Block(
            f"equal channels, {_PAIRS} pairs a channel", _TAPS * _CHANNELS**2, None, maps,
            maps * _CHANNELS,
        ),
        _Block(
            f"LBCNN's block, {_FILTERS} filters and maps", wide + point, (share * wide, point),
            _FILTERS, point,
        ),
    )  # fmt: skip


def reproduce_cmp_pim(what: str, _: Tell) -> Reproduction:
    """Reproduce ``cmp-pim``: every configuration that its abstract could mean."""
    published = [number(row["published"]) for row in published_rows(what)]
    return Reproduction(what, (), beside=(_used(), _matrix(*published[:2]), _at_area(published[2])))


def _used() -> Beside:
    """The energies that the matrix hangs on."""
    rows: list[tuple[Cell, ...]] = []
    for table in _TABLES:
        for name in table.multiply:
            both = table.multiply[name], table.accumulate[name]
            rows.append((table.name, f"baseline {name}", *both, None, table.source))
        for name, add in table.add.items():
            rows.append((table.name, f"adder {name}", None, add, table.compare[name], table.source))
    return Beside(
        "energy of an operation, pJ; the two tables differ by up to 18 times",
        ("table", "of", "multiply", "add", "compare", "source"),
        tuple(rows),
    )


@dataclass(frozen=True, slots=True)
class _Ratios:
    """A cell of the matrix: energies of operations alone, over one another."""

    shown: tuple[str, ...]
    cnn: float
    lbcnn: float | None
    fixed: float | None

    def row(self, marks: Iterable[str]) -> tuple[Cell, ...]:
        """As it is shown."""
        return *self.shown, self.cnn, self.lbcnn, self.fixed, ", ".join(marks)


def _matrix(cnn: float, lbcnn: float) -> Beside:
    cells = list(_ratios())
    nearest = min(cells, key=lambda cell: abs(math.log(cell.cnn / cnn)))
    fixed = [(abs(math.log(cell.lbcnn / lbcnn)), cell) for cell in cells if cell.lbcnn is not None]
    least = min(distance for distance, _ in fixed)
    closest = next(cell for distance, cell in fixed if distance == least)
    marked = {f"{cnn}x": nearest, f"{lbcnn}x": closest}
    return Beside(
        f"energy of operations alone, over the comparator network's; {cnn} and {lbcnn} are "
        "published without a configuration, so that no row is a reproduction, and the nearest may "
        f"be so by chance; together they imply {cnn / lbcnn:.0f} for the CNN over the LBCNN, and "
        "no row has it: LBCNN's 1x1 layer multiplies as the CNN's does, and 59 % of its taps add",
        (
            "table", "layers", "baseline", "adder", "CNN : comparator", "LBCNN : comparator",
            "CNN : LBCNN", "nearest to",
        ),
        tuple(
            cell.row(name for name, one in marked.items() if one is cell) for cell in cells
        ),
    )  # fmt: skip


def _ratios() -> Iterator[_Ratios]:
    for table in _TABLES:
        for block in _blocks():
            for baseline, multiply in table.multiply.items():
                accumulate = table.accumulate[baseline]
                product = multiply + accumulate
                fixed = None
                if block.binary is not None:
                    fixed = block.binary[0] * accumulate + block.binary[1] * product
                for adder, add in table.add.items():
                    ours = block.comparisons * table.compare[adder] + block.additions * add
                    yield _Ratios(
                        (table.name, block.name, baseline, adder),
                        block.products * product / ours,
                        None if fixed is None else fixed / ours,
                        None if fixed is None else block.products * product / fixed,
                    )


def _at_area(published: float) -> Beside:
    """Latency and energy on machines of equal area, DRAM included."""
    technology = load_technology(DEFAULT_TECHNOLOGY)
    engine = load_accelerator(_ENGINE)
    area = engine.area(technology)
    rows: list[tuple[Cell, ...]] = []
    for name, bits in (("dcnn-fp32", 32), ("dcnn-int8", 8)):
        array = _of_area(load_machine_of(Array, name, "an array"), area, technology)
        for title, nests, compared, pairs in _layers():
            cnn = Costs(array.cost(_plain(nest, bits), technology) for nest in nests)
            for weight in (1, 8):
                ours = engine.cost(_comparator(compared, pairs, weight), technology)
                chip = ours.energy.total - ours.energy.dram
                rows.append((
                    f"{name}, {array.slices} slices", title, f"W{weight}A{_CODE}", cnn.cycles,
                    ours.cycles, cnn.cycles / ours.cycles, cnn.energy_pj / ours.energy.total,
                    _on_chip(cnn) / chip, cnn[0].bound, ours.bound,
                ))  # fmt: skip
    return Beside(
        f"an image, DRAM included, {technology.name}: a block of the CNN on an array of "
        f"multipliers, with as many slices as the {area / 1e6:.2f} mm2 of {_ENGINE} have room for, "
        f"over the comparator layer on that; {published} times the speed is published, without "
        "either machine: not reproduced, since this hangs on the bits of both, and on what the "
        "array has in its area",
        (
            "array", "layers", "our bits", "array, cycles", "our cycles", "speed-up",
            "energy, array : ours", "on the chip", "array waits for", "we wait for",
        ),
        tuple(rows),
    )  # fmt: skip


def _of_area(array: Array, area: float, technology: Technology) -> Array:
    """The array with as many slices as an area holds, all else as it is."""
    found = array
    for slices in range(1, 1024):
        wider = replace(array, slices=slices)
        if wider.area(technology) > area:
            break
        found = wider
    return found


def _layers() -> Iterator[tuple[str, Sequence[ConvLayer], ConvLayer, int]]:
    """The CNN's layers, the convolution that is compared, and its pairs a channel."""
    equal = _conv(_CHANNELS, _CHANNELS, _SIDE)
    yield f"{_CHANNELS} channels at {_SIDE} x {_SIDE}, {_PAIRS} pairs", (equal,), equal, _PAIRS
    block = (
        _conv(_FILTERS, _CHANNELS, _SIDE),
        ConvLayer("point", 1, _CHANNELS, _FILTERS, _SIDE, _SIDE, 1, 1),
    )
    pairs = _FILTERS // _CHANNELS
    yield f"LBCNN's block at {_SIDE} x {_SIDE}, {_FILTERS} maps", block, equal, pairs
    wide = _conv(128, 128, 28)
    yield f"128 channels at 28 x 28, {_PAIRS} pairs", (wide,), wide, _PAIRS


def _conv(filters: int, channels: int, side: int) -> ConvLayer:
    return ConvLayer("conv", 1, filters, channels, side, side, 3, 3, pads=(1, 1, 1, 1))


def _plain(nest: ConvLayer, bits: int) -> LayerTask:
    layer = Layer(nest, parts=(nest,), numbers=Numbers(bits, bits))
    return LayerTask(layer, loaded_bits=bits, written_bits=bits)


def _comparator(nest: ConvLayer, pairs: int, weight: int) -> LayerTask:
    """A pair for each 16 channels, codes of 8 bits, and weights of so many."""
    adding = ConvLayer(nest.name, nest.N, nest.K, pairs * nest.C, nest.P, nest.Q, 1, 1)
    weights = Weights(KIND, (("pairs", pairs), ("share", 16)))
    layer = Layer(
        nest, arithmetic=Arithmetic.COMPARE, weights=weights, numbers=Numbers(weight, _CODE),
        parts=(adding,),
    )  # fmt: skip
    return LayerTask(layer, loaded_bits=_CODE, written_bits=_CODE)


def _on_chip(costs: Costs) -> float:
    return math.fsum(cost.energy.total - cost.energy.dram for cost in costs)
