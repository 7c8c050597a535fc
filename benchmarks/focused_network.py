"""A focused network in engine native: is latency saved as multiplications are?

A ResNet-20 whose masks are made of each image behind ``conv1``; real images, one by one, batch 1,
one thread, processor time, interleaved with the dense network. Masks and lists are made in the
timed run.

    python -m benchmarks.focused_network --weights resnet20.npz --images FOLDER
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn import training, zoo
from mlcnn.engines import get
from mlcnn.engines.native import Native
from mlcnn.engines.timing import interleave
from mlcnn.frontier.activity import recorded
from mlcnn.passes import pipeline
from mlcnn.passes.exit_heads import exit_points
from mlcnn.passes.focus import Focus
from mlcnn.workload import read

__all__ = ["main"]

_TRIED = 12
_CALIBRATED = 32
Floats = NDArray[np.float32]


def _macs(model: ir.Model, images: Floats) -> NDArray[np.float64]:
    """Multiplications of each image."""
    return recorded(model, images).each(read(model, batch=1).every, lambda x: float(x.nest.macs))


def _focused(model: ir.Model, source: str, gone: float, images: Floats) -> ir.Model:
    """The network of the threshold that leaves out about that share on average."""
    focus = Focus(dict(exit_points(model))["conv1"], source, stride="majority")
    scores = get("onnxruntime").prepare(focus.scores(model))
    name = model.graph.inputs[0].name or ""
    (found,) = scores.run({name: images}).values()
    whole = sum(layer.nest.macs for layer in read(model, batch=1).every)

    def made(level: float) -> ir.Model:
        threshold = float(np.quantile(found, level))
        return Focus(focus.at, source, threshold, stride="majority").apply(model).model

    levels = [float(level) for level in np.linspace(0.05, 0.7, _TRIED)]
    apart = {level: abs(1 - _macs(made(level), images).mean() / whole - gone) for level in levels}
    return made(min(apart, key=lambda level: apart[level]))


def _told(
    algorithm: str, dense: ir.Model, focused: ir.Model, images: Floats, seconds: float
) -> str:
    engine, name = Native(algorithm=algorithm), dense.graph.inputs[0].name or ""
    plain, masked = engine.prepare(dense), engine.prepare(focused)
    runners = {"dense": plain.runner({name: images[:1]})}
    for index in range(len(images)):
        runners[str(index)] = masked.runner({name: images[index : index + 1]})
    times = interleave(runners, budget_s=seconds, clock=time.process_time_ns)
    before = times.pop("dense").median_ms
    after = mean(timing.median_ms for timing in times.values())
    whole = sum(layer.nest.macs for layer in read(dense, batch=1).every)
    saved = 1 - _macs(focused, images).mean() / whole
    return (
        f"{algorithm}: {before:.3f} -> {after:.3f} ms, {1 - after / before:.1%} saved where "
        f"{saved:.1%} of the multiplications are: {(1 - after / before) / saved:.2f}"
    )


def _lines(given: argparse.Namespace) -> Iterator[str]:
    test = training.open_data(given.images).test
    normal, _ = training.normal_for(test, zoo.describe("resnet20"))
    images = normal.apply(test.images[:_CALIBRATED]).astype(np.float32)
    dense = pipeline.run(
        zoo.load("resnet20", weights=given.weights), pipeline.parse("fold-batch-norm")
    ).model
    for source in given.sources:
        for gone in given.gone:
            focused = _focused(dense, source, gone, images)
            for algorithm in ("direct", "measured"):
                told = _told(algorithm, dense, focused, images[: given.timed], given.seconds)
                yield f"{source}, {gone:.0%}: {told}"


def main() -> None:
    """Print latency and multiplications saved."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--sources", nargs="*", default=["contrast", "centre"])
    parser.add_argument("--gone", nargs="*", type=float, default=[0.22, 0.4])
    parser.add_argument("--timed", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3.0)
    for line in _lines(parser.parse_args()):
        print(line, flush=True)


if __name__ == "__main__":
    main()
