"""The FFT engines over dense machines, and what fixed point costs their outputs.

Speed-up and energy ratio of whole networks whose layers are block-circulant on the engine and dense
on the other machine; and signal over noise of a layer in the engine's integers on random numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from benchmarks.results import arguments, show, write
from mlcnn import zoo
from mlcnn.accelerators import (
    LayerTask,
    evaluate_layer,
    load_accelerator,
    load_technology,
    network_tasks,
)
from mlcnn.accelerators.cost import Costs
from mlcnn.accelerators.fft.fixed import FixedPoint
from mlcnn.ops.block_circulant import structure

__all__ = ["CASES", "Case", "accuracy", "gains", "in_blocks", "main"]


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison.

    Attributes:
        network: of the zoo.
        batch: images.
        block: points of a block.
        last: whether the last layer is block-circulant too; the first one is always dense.
        engine: the FFT engine.
        against: the dense machine.
        speed: least speed-up that is asked for; 0 for none.
        energy: least energy ratio that is asked for; 0 for none.
    """

    network: str
    batch: int
    block: int
    last: bool = False
    engine: str = "fft-fp16"
    against: str = "dcnn-fp16"
    speed: float = 0.0
    energy: float = 0.0


CASES = (
    Case("vgg16", 16, 8, speed=2.8, energy=3.0),
    Case("vgg16", 16, 16, speed=4.0, energy=4.5),
    Case("vgg16", 1, 8, speed=3.5),
    Case("alexnet-224", 1, 8, last=True, speed=4.0),
    Case("alexnet-224", 1, 8),
    Case("vgg16", 16, 1),
    *(
        Case("vgg16", 16, block, engine=engine, against=against)
        for engine, against in (
            ("fft-fp32", "dcnn-fp32"),
            ("fft-16", "dcnn-int16"),
            ("fft-12", "dcnn-int12"),
        )
        for block in (8, 16)
    ),
)
BLOCKS = (2, 4, 8, 16, 32, 64, 128)
BITS = (12, 16)


def in_blocks(tasks: Sequence[LayerTask], block: int, *, last: bool) -> list[LayerTask]:
    """The layers with block-circulant weights, but the first and those of fewer channels.

    Args:
        tasks: of a network.
        block: points of a block; 1 leaves all dense.
        last: whether the last layer is among them.
    """

    def one(index: int, task: LayerTask) -> LayerTask:
        nest = task.nest
        fewest = min(nest.C, nest.K) // nest.G
        ends = index == 0 or (index == len(tasks) - 1 and not last)
        if block == 1 or ends or fewest < block:
            return task
        return replace(task, layer=replace(task.layer, weights=structure(block)))

    return [one(index, task) for index, task in enumerate(tasks)]


@cache
def _tasks(network: str, batch: int) -> tuple[LayerTask, ...]:
    return network_tasks(zoo.load(network), batch=batch)


def _costs(tasks: Sequence[LayerTask], name: str) -> Costs:
    machine, technology = load_accelerator(name), load_technology()
    return Costs(evaluate_layer(task, machine, technology) for task in tasks)


@cache
def _dense(network: str, batch: int, name: str) -> Costs:
    return _costs(_tasks(network, batch), name)


def gains(case: Case) -> tuple[float, float]:
    """Speed-up and energy ratio of the whole network over its dense self."""
    dense = _dense(case.network, case.batch, case.against)
    tasks = in_blocks(_tasks(case.network, case.batch), case.block, last=case.last)
    found = _costs(tasks, case.engine)
    return dense.cycles / found.cycles, dense.energy_pj / found.energy_pj


def accuracy(points: int, bits: int, *, blocks: int = 576, images: int = 16) -> tuple[float, float]:
    """Signal over noise in dB of a layer in the engine's integers, and in dense ones.

    Rectified normal inputs, normal weights. The dense layer has inputs, weights and outputs of the
    same bits and exact sums.

    Args:
        points: of a block.
        bits: of inputs, weights and outputs.
        blocks: that an output block is the sum of: 64 at 3x3 taps.
        images: inputs of each.
    """
    generator = np.random.default_rng(points)
    inputs = np.maximum(generator.standard_normal((images, blocks, points)), 0)
    weights = generator.standard_normal((4, blocks, points))
    fixed, exact = FixedPoint(bits), _product(inputs, weights)
    rounded = [codes * scale for codes, scale in map(fixed.quantised, (inputs, weights))]
    codes, scale = fixed.quantised(_product(*rounded))
    return _decibels(fixed.layer(inputs, weights), exact), _decibels(codes * scale, exact)


def _product(inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    spectra = np.einsum("nqf,pqf->npf", np.fft.rfft(inputs), np.fft.rfft(weights))
    return np.fft.irfft(spectra, n=inputs.shape[-1])


def _decibels(found: np.ndarray, exact: np.ndarray) -> float:
    return float(10 * np.log10(np.sum(exact**2) / np.sum((found - exact) ** 2)))


def main() -> None:
    """Compute and print."""
    options = arguments(__doc__, "fft_engine").parse_args()
    found = [(case, *gains(case)) for case in CASES]
    columns = ["network, batch, block", "machines", "speed-up", "asked", "energy ratio", "asked"]
    rows = [
        [
            f"{case.network}, {case.batch}, {case.block}{', last too' if case.last else ''}",
            f"{case.engine} over {case.against}",
            f"{speed:.2f}",
            f"{case.speed or ''}",
            f"{energy:.2f}",
            f"{case.energy or ''}",
        ]
        for case, speed, energy in found
    ]
    show("FFT engines", columns, rows)
    noise = {(bits, points): accuracy(points, bits) for bits in BITS for points in BLOCKS}
    show(
        "signal over noise of a layer, dB: engine (dense)",
        ["bits", *map(str, BLOCKS)],
        [
            [str(bits), *("{:.1f} ({:.1f})".format(*noise[bits, points]) for points in BLOCKS)]
            for bits in BITS
        ],
    )
    results = [
        {"case": str(case), "speedup": speed, "energy_ratio": energy}
        for case, speed, energy in found
    ]
    decibels = [
        {"bits": bits, "block": points, "engine_db": engine, "dense_db": dense}
        for (bits, points), (engine, dense) in noise.items()
    ]
    write(options, {"results": results, "accuracy": decibels})
    print(f"results: {options.out}")


if __name__ == "__main__":
    main()
