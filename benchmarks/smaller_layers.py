"""One layer in ONNX Runtime with half of its channels, and with shared kernels in two stages.

How many times as fast as the dense layer; 3x3, one image, one thread, processor time, interleaved:

    python -m benchmarks.smaller_layers --seconds 5
"""

import argparse
import time

import onnx_ir as ir
import torch
from torch import nn

from mlcnn import engines
from mlcnn.engines import ratio
from mlcnn.engines.timing import interleave
from mlcnn.graph import from_module
from mlcnn.passes import pipeline

__all__ = ["main"]

_LAYERS = ((16, 32), (64, 32), (128, 28), (256, 14), (512, 7))
_BASES = (5, 2)


def _layer(channels: int, size: int) -> ir.Model:
    module = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1))
    return from_module(module.eval(), (torch.zeros(2, channels, size, size),))


def _shared(model: ir.Model, basis: int) -> ir.Model:
    passes = f"share-kernels{{basis={basis},layers=all}},choose{{form=two-stage}}"
    return pipeline.run(model, pipeline.parse(passes)).model


def main() -> None:
    """Print a row for each layer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    engine = engines.get("onnxruntime")
    for channels, size in _LAYERS:
        dense = _layer(channels, size)
        models = {"dense": dense, "half": _layer(channels // 2, size)}
        models |= {f"two-stage, d = {basis}": _shared(dense, basis) for basis in _BASES}
        runners = {
            name: engine.prepare(model, threads=1).runner(engines.random_inputs(model))
            for name, model in models.items()
        }
        times = interleave(runners, budget_s=arguments.seconds, clock=time.process_time_ns)
        rows = (f"{n} {ratio(times['dense'], times[n]).value:.2f}" for n in models if n != "dense")
        print(f"{channels}@{size}: {', '.join(rows)}", flush=True)


if __name__ == "__main__":
    main()
