"""Engines of memory sub-arrays beside what is published of them.

Of [IMCE] (ASP-DAC 2018) there is an abstract, of [ISVLSI19] a table in public text; bits, grouping,
mapping, and what their energy holds are not published. So our engines run every configuration that
could be meant, of public cells, and nothing of them is fitted to a published result.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from mlcnn.accelerators import (
    DEFAULT_TECHNOLOGY,
    LayerTask,
    Machine,
    Technology,
    load_accelerator,
    load_technology,
)
from mlcnn.accelerators.cost import Costs
from mlcnn.accelerators.in_memory import InMemoryEngine, engine_area, load_engine
from mlcnn.reproduce.reproduction import (
    Beside,
    Cell,
    Reproduction,
    Tell,
    compared,
    number,
    published_rows,
)
from mlcnn.workload import ConvLayer, Layer, Numbers

__all__ = ["reproduce_imce", "reproduce_isvlsi_2019"]

_ENGINES = ("imce-stt", "imce-stt-aggressive", "imce-sram")
_MULTIPLIERS = "dcnn-int8"
_BITS = (1, 2, 4, 8)
_BATCH = 16
_ONE = 256  # rows and columns of the sub-array of [ISVLSI19]


def _alexnet(batch: int, groups: int) -> tuple[ConvLayer, ...]:
    """Convolutions 2 to 5; the first keeps its bits in networks of few."""
    return (
        ConvLayer("conv2", batch, 256, 96, 27, 27, 5, 5, groups, pads=(2, 2, 2, 2)),
        ConvLayer("conv3", batch, 384, 256, 13, 13, 3, 3, pads=(1, 1, 1, 1)),
        ConvLayer("conv4", batch, 384, 384, 13, 13, 3, 3, groups, pads=(1, 1, 1, 1)),
        ConvLayer("conv5", batch, 256, 384, 13, 13, 3, 3, groups, pads=(1, 1, 1, 1)),
    )


_LENET5 = (
    ConvLayer("conv1", 1, 6, 1, 28, 28, 5, 5, pads=(2, 2, 2, 2)),
    ConvLayer("conv2", 1, 16, 6, 14, 14, 5, 5),
)


def _tasks(nests: Sequence[ConvLayer], weight: int, given: int) -> tuple[LayerTask, ...]:
    layers = (Layer(nest, parts=(nest,), numbers=Numbers(weight, given)) for nest in nests)
    return tuple(LayerTask(layer, loaded_bits=given, written_bits=given) for layer in layers)


def _run(
    nests: Sequence[ConvLayer], bits: tuple[int, int], machine: Machine, technology: Technology
) -> Costs:
    return Costs(machine.cost(task, technology) for task in _tasks(nests, *bits))


def _on_chip_uj(costs: Costs, images: int = 1) -> float:
    return sum(cost.energy.total - cost.energy.dram for cost in costs) / 1e6 / images


def _whole_uj(costs: Costs, images: int = 1) -> float:
    return costs.energy_pj / 1e6 / images


def reproduce_imce(what: str, tell: Tell) -> Reproduction:
    """Reproduce ``imce``: every configuration that its abstract could mean."""
    technology = load_technology(DEFAULT_TECHNOLOGY)
    energy, *ratios = published_rows(what)
    runs = _alexnet_runs(technology, float(energy["published"]), tell)
    band = Beside(
        f"{energy['item']}: {energy['published']} published, without bits, grouping or what is "
        "counted, so that no row is a reproduction; ours, convolutions 2 to 5 on "
        f"{technology.name}",
        ("bits", "groups", "cells", "on the chip, uJ", "with DRAM, uJ", "of the published, %"),
        tuple(runs),
    )
    return Reproduction(
        what, (), beside=(band, _against_multipliers(technology), _bit_products(ratios))
    )


def _alexnet_runs(
    technology: Technology, published: float, tell: Tell
) -> Iterator[tuple[Cell, ...]]:
    wanted = [
        (bits, groups, name)
        for name in _ENGINES[:2]
        for bits in _BITS
        for groups in (2, 1)
    ]  # fmt: skip
    for done, (bits, groups, name) in enumerate(wanted):
        tell("imce", done, len(wanted))
        engine = load_engine(name)
        costs = _run(_alexnet(1, groups), (1, bits), engine, technology)
        whole = _whole_uj(costs)
        shown = f"W1A{bits}", groups, engine.cell
        yield *shown, _on_chip_uj(costs), whole, 100 * whole / published


def _against_multipliers(technology: Technology) -> Beside:
    """The same layers on an array of multipliers, over a batch."""
    nests = _alexnet(_BATCH, 2)
    array = _run(nests, (8, 8), load_accelerator(_MULTIPLIERS), technology)
    rows = [_row(_MULTIPLIERS, "W8A8", array, array)]
    for name in _ENGINES:
        for bits in ((1, 1), (1, 2), (1, 4), (2, 2), (8, 8)):
            costs = _run(nests, bits, load_accelerator(name), technology)
            rows.append(_row(name, f"W{bits[0]}A{bits[1]}", costs, array))
    return Beside(
        f"convolutions 2 to 5 of AlexNet in groups, uJ an image of a batch of {_BATCH}: sub-arrays "
        "win where their share is below 100 %",
        (
            "machine", "bits", "on the chip", "DRAM: weights", "DRAM: all", "all",
            "on the chip, % of the multipliers'", "all, %", "cycles, %",
        ),
        tuple(rows),
    )  # fmt: skip


def _row(name: str, bits: str, costs: Costs, array: Costs) -> tuple[Cell, ...]:
    chip, whole = _on_chip_uj(costs, _BATCH), _whole_uj(costs, _BATCH)
    moved = sum(cost.traffic.dram for cost in costs)
    weights = sum(cost.traffic.dram_weight for cost in costs) / moved * (whole - chip)
    return (
        name, bits, chip, weights, whole - chip, whole,
        100 * chip / _on_chip_uj(array, _BATCH), 100 * whole / _whole_uj(array, _BATCH),
        100 * costs.cycles / array.cycles,
    )  # fmt: skip


def _bit_products(ratios: Sequence[Mapping[str, str]]) -> Beside:
    """A product of two bits in sub-arrays, in a crossbar's converters, and in silicon."""
    rows: list[tuple[Cell, ...]] = []
    for name in _ENGINES:
        engine = load_engine(name)
        sensed = engine.sub_array.both_pj / engine.columns * 1e3
        rows.append((engine.cell, sensed, "both rows sensed"))
    rows += [(item, femtojoules, source) for item, femtojoules, source in _OTHERS]
    told = "; ".join(f"{row['item']}: {row['published']} published" for row in ratios)
    return Beside(
        f"energy of a product of two bits, fJ. {told}: not reproduced, since the converters of a "
        "crossbar of public constants take less than sensing MRAM does, array and drivers not "
        "counted",
        ("what", "fJ", "of"),
        tuple(rows),
    )


_OTHERS: tuple[tuple[str, float, str], ...] = (
    ("crossbar of 128 rows of 2 bits, converter alone", 1670 / (128 * 2),
     "ISAAC's 8-bit ADC, 16 mW at 1.2 GS/s and 32 nm, 1.67 pJ a conversion"),
    ("SRAM macro in silicon, 22 nm, 4 x 4 bits", 2 / 89 * 1e3 / 16,
     "Chih et al., ISSCC 2021, 89 TOPS/W, two operations a product"),
    ("STT-MRAM macro in silicon, 22 nm, 8 bits, near memory, best", 2 / 55.1 * 1e3 / 64,
     "Chiu et al., ISSCC 2022, 25.1 to 55.1 TOPS/W"),
    ("STT-MRAM macro in silicon, 22 nm, 8 bits, near memory, worst", 2 / 25.1 * 1e3 / 64,
     "Chiu et al., ISSCC 2022, 25.1 to 55.1 TOPS/W"),
    ("multipliers of 8 bits, 45 nm, multiply and add alone", (0.2 + 0.1) * 1e3 / 64,
     "Horowitz, ISSCC 2014, as in horowitz-45nm"),
)  # fmt: skip


def reproduce_isvlsi_2019(what: str, _: Tell) -> Reproduction:
    """Reproduce ``isvlsi-2019``: LeNet-5's convolutions at W1A8 on one sub-array."""
    technology = load_technology(DEFAULT_TECHNOLOGY)
    found = {row["cell"]: _one_array(row["cell"]) for row in published_rows(what)}
    runs = {
        cell: {
            side: _run(_LENET5, (1, 8), replace(engine, segments=segments), technology)
            for side, segments in (("several", engine.segments), ("one", 1))
        }
        for cell, engine in found.items()
    }
    rows = tuple(
        compared(row, _quantity(row["quantity"], found[row["cell"]], runs[row["cell"]]["several"]))
        for row in published_rows(what)
    )
    return Reproduction(
        what, rows, f"on the chip, one sub-array of {_ONE} x {_ONE}, several windows in a row",
        (_sides(found, runs), _reversed(what, runs)),
    )  # fmt: skip


def _one_array(cell: str) -> InMemoryEngine:
    engine = load_engine("imce-stt")
    return replace(engine.with_cells(cell, _ONE, _ONE), arrays=1)


def _quantity(name: str, engine: InMemoryEngine, costs: Costs) -> float:
    if name == "area":
        area = engine_area(engine, load_technology(DEFAULT_TECHNOLOGY))
        return (area.arrays + area.counters) / 1e6
    return _on_chip_uj(costs) if name == "energy" else costs.cycles / engine.clock_mhz / 1e3


def _sides(found: Mapping[str, InMemoryEngine], runs: Mapping[str, Mapping[str, Costs]]) -> Beside:
    return Beside(
        "several windows side by side in a row, and one; nothing overlaps in one sub-array",
        ("cells", "windows in a row", "on the chip, uJ", "sensing", "writing", "latency, ms"),
        tuple(
            (
                cell, side, _on_chip_uj(costs), _part(costs, "sensing"), _part(costs, "writing"),
                costs.cycles / found[cell].clock_mhz / 1e3,
            )
            for cell, sides in runs.items()
            for side, costs in sides.items()
        ),
    )  # fmt: skip


def _part(costs: Costs, name: str) -> float:
    found = 0.0
    for cost in costs:
        parts = cost.mapping["energy_pj"]
        found += parts[name] if isinstance(parts, dict) else 0.0
    return found / 1e6


def _reversed(what: str, runs: Mapping[str, Mapping[str, Costs]]) -> Beside:
    """SRAM over STT-MRAM, published and computed."""
    published = {row["cell"]: number(row["published"]) for row in published_rows(what)
                 if row["quantity"] == "energy"}  # fmt: skip
    sram = "nvsim-45nm-sram-lop"
    return Beside(
        "energy of SRAM over that of STT-MRAM",
        ("cells of STT-MRAM", "published", "computed"),
        tuple(
            (
                cell, published[sram] / published[cell],
                _on_chip_uj(runs[sram]["several"]) / _on_chip_uj(runs[cell]["several"]),
            )
            for cell in published if cell != sram
        ),
    )  # fmt: skip
