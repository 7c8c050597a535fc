"""What conditional branches cost, and whether batches pay for survivors alone.

A trained ResNet-20 with one exit behind ``layer2``, thresholds set so that all images go on, that
none does, or that a half does; processor time of one thread, interleaved:

    python -m benchmarks.exits --weights resnet20.npz --cifar10 FOLDER
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass
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
_NEAR = 1e-5


def _headed(model: ir.Model, images: training.ImageSet, normal: training.Normal) -> ir.Model:
    """The network with a head, fitted to some images."""
    at = dict(exit_points(model))[_LAYER]
    probe = graph.clone(model)
    probe.graph.outputs[:] = [v for n in probe.graph for v in n.outputs if v.name == at]
    name = model.graph.inputs[0].name or ""
    found = engines.get("onnxruntime").prepare(probe).run({name: normal.apply(images.images)})
    features = region_means(torch.from_numpy(np.array(found[at])), 2)
    return with_heads(model, [Head(at, *fit_linear(features, images.labels, 10))])


def _sure(scores: np.ndarray) -> np.ndarray:
    """The probability of each image's most likely class."""
    shares = np.exp(scores - scores.max(1, keepdims=True))
    return (shares / shares.sum(1, keepdims=True)).max(1)


@dataclass(frozen=True, slots=True)
class _Case:
    """Networks in one engine, and the images of which a half goes on.

    Attributes:
        sessions: by network.
        sure: of each image, the head's highest probability.
        half: the threshold.
    """

    sessions: Mapping[str, engines.Session]
    name: str
    sure: np.ndarray
    half: float

    def batch(self, images: np.ndarray, seconds: float) -> None:
        """Print the overhead of a branch, and what a batch takes over its survivors alone."""
        runners = {key: one.runner({self.name: images}) for key, one in self.sessions.items()}
        times = interleave(runners, budget_s=seconds, clock=time.process_time_ns)
        on, plain = ratio(times["all go on"], times["plain"]), times["plain"].median_ms
        first = times["stage 1"].median_ms
        left = times["all leave"].median_ms - first
        share = float((self.sure[: len(images)] < self.half).mean())
        ideal = first + share * (plain - first)
        print(
            f"batch {len(images)}: plain {plain:.3f} ms; all go on {on.value:.3f} "
            f"({on.low:.3f} to {on.high:.3f}); all leave {1000 * left:+.1f} us over the "
            f"first stage; {share:.0%} go on: ideal {ideal:.3f}, measured "
            f"{times['half'].median_ms:.3f} ({ideal / times['half'].median_ms:.2f} of the ideal)",
            flush=True,
        )

    def images(self, pixels: np.ndarray) -> None:
        """Print the mean over images one by one, and the exit rate times the stages."""
        keys = ("plain", "stage 1", "half")
        each = one_by_one(
            [lambda i, s=self.sessions[k]: s.run({self.name: pixels[i : i + 1]}) for k in keys],
            len(pixels), clock=time.process_time_ns,
        )  # fmt: skip
        plain, first, mixed = (float(np.mean(times)) for times in each)
        told = first + float((self.sure < self.half).mean()) * (plain - first)
        print(
            f"{len(pixels)} images one by one: {mixed:.3f} ms, exit rate times stages {told:.3f} "
            f"({100 * (mixed / told - 1):+.1f} %)",
            flush=True,
        )


def _decisions(cases: Mapping[str, _Case], pixels: np.ndarray) -> None:
    """Print whether engines let the same images leave, and how close to the threshold any is."""
    results = {key: case.sessions["half"].run({case.name: pixels}) for key, case in cases.items()}
    scores = [np.asarray(next(iter(result.values())), np.float32) for result in results.values()]
    leaves = [case.sure >= case.half for case in cases.values()]
    first = next(iter(cases.values()))
    near = int((np.abs(first.sure - first.half) < _NEAR).sum())
    error = max(np.abs(one - scores[0]).max() / np.abs(scores[0]).max() for one in scores)
    print(
        f"{', '.join(cases)}: {max((one != leaves[0]).sum() for one in leaves)} of {len(pixels)} "
        f"images decided otherwise, {near} within {_NEAR:g} of the threshold; largest difference "
        f"of the scores {error:.1e} of the largest one"
    )


def main() -> None:
    """Print the overhead of a branch, and time over the share of images that goes on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--cifar10", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--engines", nargs="+", default=["onnxruntime", "native"])
    parser.add_argument("--fused", action="store_true", help="pools fused before heads are added")
    parser.add_argument("--batches", type=int, nargs="+", default=_BATCHES)
    arguments = parser.parse_args()
    loaded = mlcnn.load("resnet20", weights=arguments.weights)
    passes = "fold-batch-norm,fuse" if arguments.fused else "fold-batch-norm"
    model = pipeline.run(loaded, pipeline.parse(passes)).model
    data = training.open_data(arguments.cifar10)
    normal, _ = training.normal_for(data.test, zoo.describe("resnet20"))
    headed = _headed(model, data.training.first(2_000), normal)
    name = model.graph.inputs[0].name or ""
    pixels = normal.apply(data.test.images[:_IMAGES])
    scores = {
        key: engines.get(key).prepare(headed, threads=1).run({name: pixels})["exit1"]
        for key in arguments.engines
    }
    half = float(np.median(_sure(next(iter(scores.values())))))
    networks = {
        "plain": model,
        "stage 1": graph.extract(headed, [name], ["exit1"]),
        "all go on": EarlyExit("exit1=1.0").apply(headed).model,
        "all leave": EarlyExit("exit1=0.0").apply(headed).model,
        "half": EarlyExit(f"exit1={half!r}").apply(headed).model,
    }
    cases = {
        key: _Case(
            {k: engines.get(key).prepare(one, threads=1) for k, one in networks.items()},
            name, _sure(found), half,
        )
        for key, found in scores.items()
    }  # fmt: skip
    _decisions(cases, pixels)
    for key, case in cases.items():
        print(key)
        for batch in arguments.batches:
            case.batch(pixels[:batch], arguments.seconds)
        case.images(pixels)


if __name__ == "__main__":
    main()
