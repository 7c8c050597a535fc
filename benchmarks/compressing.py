"""A trained ResNet-20 made smaller by each method: accuracy after one epoch, and processor time.

The weights are those of ``zoo``'s parameter names, in an ``.npz`` file. What was trained is not
trained again; a row takes about three minutes of one core:

    python -m benchmarks.compressing --weights resnet20.npz --cifar10 FOLDER
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
import torch

import mlcnn
from mlcnn import CompressOptions, api, engines, training
from mlcnn.engines import ratio
from mlcnn.engines.timing import interleave

__all__ = ["CASES", "main", "speedups"]

CASES = {
    "weights-5.882x": CompressOptions(method="weights", budget="5.882x"),
    "weights-3.509x": CompressOptions(method="weights", budget="3.509x"),
    "channels-multiplications=2x": CompressOptions(method="channels", budget="multiplications=2x"),
    "shared-kernels-5.882x": CompressOptions(method="shared-kernels", budget="5.882x", basis="5"),
    "shared-kernels-auto-5.882x": CompressOptions(
        method="shared-kernels", budget="5.882x", basis="auto"
    ),
    "shared-kernels-alternate-5.882x": CompressOptions(
        method="shared-kernels", budget="5.882x", basis="5", basis_training="alternate"
    ),
}
"""By name: 5.882x leaves 17.0 % of the parameters, 3.509x 28.5 %."""


def speedups(before: ir.Model, after: ir.Model, seconds: float) -> dict[str, float]:
    """How many times faster the smaller network is, by engine: one image, one thread.

    Processor time, interleaved: other programs disturb it less than time on the wall.

    Args:
        before: the original.
        after: what became of it.
        seconds: for each engine.
    """
    found: dict[str, float] = {}
    for name in ("onnxruntime", "openvino", "native"):
        engine = engines.get(name)
        pair = {"before": before, "after": after}
        runners = {
            variant: engine.prepare(model, threads=1).runner(engines.random_inputs(model))
            for variant, model in pair.items()
        }
        times = interleave(runners, budget_s=seconds, clock=time.process_time_ns)
        found[name] = ratio(times["before"], times["after"]).value
    return found


def main() -> None:
    """Train what is missing, and print accuracy with intervals and speed-ups."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--cifar10", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmarks/compressing"))
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    hardware = training.Hardware(precision=training.Precision.BF16)
    options = api.TrainOptions(replace(api.COMPRESS_RECIPE, epochs=1), hardware)
    for name, case in CASES.items():
        done = mlcnn.compress(
            "resnet20",
            arguments.cifar10,
            case,
            options=options,
            folder=arguments.folder / name,
            weights=arguments.weights,
            notice=print,
        )
        print(done.frontier.shown().text())
        faster = speedups(done.original, done.model, arguments.seconds)
        print(", ".join(f"{engine} {times:.2f}x" for engine, times in faster.items()), flush=True)


if __name__ == "__main__":
    main()
