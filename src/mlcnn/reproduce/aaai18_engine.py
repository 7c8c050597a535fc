"""Ours beside the rows of [AAAI18]: speed and energy of the library's FFT engine at the same bits.

The engine is a model of a chip, not the paper's device, and nothing of it is fitted to a row: it is
the one that ``mlcnn evaluate --on fft-12`` knows, sized for the convolutions of larger networks.
Accuracy is what ``python -m benchmarks.fixed_point`` measured in the engine's own arithmetic.
"""

import importlib.resources
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from mlcnn.accelerators import LayerTask, Technology, load_accelerator, load_technology
from mlcnn.accelerators.cost import Costs, LayerCost
from mlcnn.accelerators.fft import FftEngine
from mlcnn.errors import InputError
from mlcnn.ops.block_circulant import structure
from mlcnn.reproduce.reproduction import Beside, Cell, published_rows
from mlcnn.reproduce.study.statistics import Estimate, mean_over_seeds
from mlcnn.workload import DENSE, ConvLayer, Layer

__all__ = ["BATCH", "NETWORKS", "Speed", "beside_published", "fixed_point_accuracy", "speed"]

BATCH = 64
"""Images; the paper's batches are recalled as some 50 to 100."""

_Published = Mapping[str, str]
_Way = Callable[[FftEngine, LayerTask, Technology], LayerCost]


def _mlp(*widths: int) -> tuple[ConvLayer, ...]:
    return tuple(
        ConvLayer(f"dense{index}", BATCH, outputs, inputs, 1, 1, 1, 1)
        for index, (inputs, outputs) in enumerate(itertools.pairwise(widths), 1)
    )


NETWORKS: Mapping[str, tuple[ConvLayer, ...]] = {
    "mlp 256-128-128-10": _mlp(256, 128, 128, 10),
    "mlp 121-64-64-10": _mlp(121, 64, 64, 10),
    "lenet5": (
        ConvLayer("conv1", BATCH, 16, 1, 28, 28, 5, 5, pads=(2, 2, 2, 2)),
        ConvLayer("conv2", BATCH, 32, 16, 14, 14, 5, 5),
        *_mlp(800, 128, 64, 10),
    ),
}
"""Layers by the names of ``benchmarks.structured_accuracy``, which trains the same networks."""


@dataclass(frozen=True, slots=True)
class Speed:
    """A network on an engine.

    Attributes:
        kfps: thousands of images a second.
        kfps_per_watt: of all energy, DRAM too.
        kfps_per_watt_on_chip: without DRAM's: as if weights and activations stayed on the chip.
    """

    kfps: float
    kfps_per_watt: float
    kfps_per_watt_on_chip: float


def speed(network: str, block: int, engine: FftEngine, way: _Way) -> Speed:
    """A network of ``NETWORKS`` at a batch of ``BATCH``.

    Args:
        network: its name.
        block: size of the blocks; the ends of a network with convolutions stay dense.
        engine: what it runs on.
        way: how a layer in blocks runs.
    """
    technology = load_technology()
    costs = Costs(
        engine.cost(task, technology)
        if task.layer.weights == DENSE
        else way(engine, task, technology)
        for task in _tasks(NETWORKS[network], block)
    )
    joules = costs.energy_pj * 1e-12 / BATCH
    dram = math.fsum(cost.energy.dram for cost in costs) * 1e-12 / BATCH
    return Speed(
        BATCH * engine.clock_mhz * 1e3 / costs.cycles, 1e-3 / joules, 1e-3 / (joules - dram)
    )


def _tasks(layers: tuple[ConvLayer, ...], block: int) -> Iterator[LayerTask]:
    has_convolutions = any(layer.H > 1 for layer in layers)
    for layer in layers:
        is_end = has_convolutions and layer in {layers[0], layers[-1]}
        weights = DENSE if is_end else structure(block)
        yield LayerTask(Layer(layer, weights=weights, parts=(layer,)))


def beside_published() -> tuple[Beside, Beside]:
    """Ours beside each row that it can be computed for, and what stands behind ours, or why not."""
    designs = {(row["design"], row["data"]): row for row in published_rows("aaai18-designs")}
    listed, array = published_rows("aaai18-ours"), _engine(12).array
    lines = [
        line
        for ours in listed
        if ours["network"]
        for line in _lines(designs[ours["design"], ours["data"]], ours)
    ]
    numbers = Beside(
        "ours at the same bits (row as published, then ours): the FFT engine that the library has, "
        f"a model of a chip of {array.multiplications_per_cycle} multipliers at "
        f"{array.clock_mhz:,.0f} MHz in {load_technology().name}, batches of {BATCH}, words from "
        "and to DRAM; not the paper's device, and nothing of it is fitted to a row. Accuracy: "
        "networks trained here, in the engine's integers, mean over seeds",
        (
            "row", "bits", "kFPS", "ours", "kFPS/W", "ours", "no DRAM", "accuracy, %", "ours",
            "seeds", "ours is",
        ),
        tuple(lines),
    )  # fmt: skip
    reasons = Beside(
        "which network of ours stands for a row, and why there is none",
        ("design", "data", "ours", "why"),
        tuple((row["design"], row["data"], _named(row), row["why"]) for row in listed),
    )
    return numbers, reasons


def _named(ours: _Published) -> str:
    return f"{ours['network']}, k = {ours['block']}" if ours["network"] else ""


def _lines(published: _Published, ours: _Published) -> Iterator[tuple[Cell, ...]]:
    network, block, bits = ours["network"], int(ours["block"]), int(published["bits"])
    engine, measured = _engine(bits), fixed_point_accuracy(network, block, bits)
    share, runs = (None, None) if measured is None else (100 * measured.value, measured.runs)
    for way, found in _speeds(network, block, engine).items():
        yield (
            published["data"], published["bits"],
            published["kfps"], found.kfps,
            published["kfps_per_watt"], found.kfps_per_watt, found.kfps_per_watt_on_chip,
            published["accuracy"], share, runs, f"{_named(ours)}, {engine.name}, {way}",
        )  # fmt: skip


def _speeds(network: str, block: int, engine: FftEngine) -> dict[str, Speed]:
    """By how layers run; once where blocks are always the faster way."""
    blocks = speed(network, block, engine, FftEngine.cost_in_blocks)
    faster = speed(network, block, engine, FftEngine.cost)
    if blocks == faster:
        return {"in blocks": blocks}
    return {"in blocks": blocks, "the faster way": faster}


def _engine(bits: int) -> FftEngine:
    engine = load_accelerator(f"fft-{bits}")
    if not isinstance(engine, FftEngine):
        raise InputError(f"accelerator fft-{bits} is no FFT engine")
    return engine


def fixed_point_accuracy(network: str, block: int, bits: int) -> Estimate | None:
    """Accuracy in the engine's integers over seeds; None where it was not measured.

    Args:
        network: its name.
        block: size of the blocks.
        bits: of weights, inputs and outputs.
    """
    path = importlib.resources.files("mlcnn.reproduce") / "measured" / "fixed_point.json"
    rows = [
        row
        for row in json.loads(path.read_text(encoding="utf-8"))["rows"]
        if (row["network"], row["block"], row["bits"]) == (network, block, bits)
    ]
    return mean_over_seeds([row["top1"] for row in rows], rows[0]["images"]) if rows else None
