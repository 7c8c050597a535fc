"""What conditional branches cost in ONNX Runtime, and whether batches pay for survivors alone.

A trained ResNet-20 with one exit behind ``layer2``, thresholds set so that all images go on, that
none does, or that a half does; processor time of one thread, interleaved:

    python -m benchmarks.exits --weights resnet20.npz --cifar10 FOLDER
"""

import argparse
import time
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch

import mlcnn
from mlcnn import engines, graph, training, zoo
from mlcnn.engines import ratio
from mlcnn.engines.timing import interleave, one_by_one
from mlcnn.passes import pipeline
from mlcnn.passes.early_exit import EarlyExit
from mlcnn.passes.exit_heads import Head, exit_points, with_heads
from mlcnn.training.heads import fit_linear, region_means

__all__ = ["main"]

_LAYER = "layer2.2.conv2"
_BATCHES = (1, 8, 64)
_IMAGES = 1_000


def _headed(model: ir.Model, images: training.ImageSet, normal: training.Normal) -> ir.Model:
    """The network with a head, fitted to some images."""
    at = dict(exit_points(model))[_LAYER]
    probe = graph.clone(model)
    probe.graph.outputs[:] = [v for n in probe.graph for v in n.outputs if v.name == at]
    name = model.graph.inputs[0].name or ""
    found = engines.get("onnxruntime").prepare(probe).run({name: normal.apply(images.images)})
    features = region_means(torch.from_numpy(np.array(found[at])), 2)
    return with_heads(model, [Head(at, *fit_linear(features, images.labels, 10))])


def main() -> None:
    """Print the overhead of a branch, and time over the share of images that goes on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--cifar10", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    loaded = mlcnn.load("resnet20", weights=arguments.weights)
    model = pipeline.run(loaded, pipeline.parse("fold-batch-norm")).model
    data = training.open_data(arguments.cifar10)
    normal, _ = training.normal_for(data.test, zoo.describe("resnet20"))
    headed = _headed(model, data.training.first(2_000), normal)
    name = model.graph.inputs[0].name or ""
    pixels = normal.apply(data.test.images[:_IMAGES])
    engine = engines.get("onnxruntime")
    scores = engine.prepare(headed).run({name: pixels})["exit1"]
    shares = np.exp(scores - scores.max(1, keepdims=True))
    sure = (shares / shares.sum(1, keepdims=True)).max(1)
    half = float(np.median(sure))
    networks = {
        "plain": model,
        "stage 1": graph.extract(headed, [name], ["exit1"]),
        "all go on": EarlyExit("exit1=1.0").apply(headed).model,
        "all leave": EarlyExit("exit1=0.0").apply(headed).model,
        "half": EarlyExit(f"exit1={half!r}").apply(headed).model,
    }
    sessions = {key: engine.prepare(each, threads=1) for key, each in networks.items()}
    for batch in _BATCHES:
        images = pixels[:batch]
        runners = {key: session.runner({name: images}) for key, session in sessions.items()}
        times = interleave(runners, budget_s=arguments.seconds, clock=time.process_time_ns)
        on, plain = ratio(times["all go on"], times["plain"]), times["plain"].median_ms
        left = times["all leave"].median_ms - times["stage 1"].median_ms
        rest = plain - times["stage 1"].median_ms
        share = float((sure[:batch] < half).mean())
        ideal = times["stage 1"].median_ms + share * rest
        print(
            f"batch {batch}: plain {plain:.3f} ms; all go on {on.value:.3f} "
            f"({on.low:.3f} to {on.high:.3f}); all leave {1000 * left:+.1f} us over the first "
            f"stage; {share:.0%} go on: ideal {ideal:.3f}, measured {times['half'].median_ms:.3f} "
            f"({ideal / times['half'].median_ms:.2f} of the ideal)"
        )
    keys = ("plain", "stage 1", "half")
    each = one_by_one(
        [lambda i, s=sessions[k]: s.run({name: pixels[i : i + 1]}) for k in keys],
        len(pixels), clock=time.process_time_ns,
    )  # fmt: skip
    plain, first, mixed = (float(np.mean(times)) for times in each)
    share = float((sure < half).mean())
    told = first + share * (plain - first)
    print(f"{len(pixels)} images one by one: {mixed:.3f} ms, exit rate times stages {told:.3f}")


if __name__ == "__main__":
    main()
