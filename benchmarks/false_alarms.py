"""How often `mlcnn check --not-slower` says slower of equal networks, and of one that is slower.

    python -m benchmarks.false_alarms [--runs 20] [--limit 2] [--seconds 2] [--engine onnxruntime]
        [--more 0 1 2]

A network of ten equal layers is held against itself, and ones of eleven and twelve against it.
Beside it stands what a build often
does: the median of one network's time on the clock, then that of the other, and the ratio against
the same limit. Run it on the machine that is to tell, as busy as it is.
"""

import argparse
import os
import time
from collections import Counter
from statistics import median

import numpy as np
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

import mlcnn
from mlcnn import engines
from mlcnn.api.slowing import slowdowns
from mlcnn.engines.processor import named

_CHANNELS, _SIDE, _LAYERS = 32, 16, 10


def network(more: int) -> ir.Model:
    """Ten equal layers, and so many more of the same: each is ten per cent of the work."""
    generator = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    count = _LAYERS + more
    for number in range(count):
        weight = generator.standard_normal((_CHANNELS, _CHANNELS, 3, 3)).astype(np.float32) / 17
        weights.append(numpy_helper.from_array(weight, f"w{number}"))
        out = f"c{number}" if number < count - 1 else "y"
        nodes.append(
            helper.make_node("Conv", [last, f"w{number}"], [out], pads=[1] * 4, name=f"l{number}")
        )
        last = out
    shape = ["N", _CHANNELS, _SIDE, _SIDE]
    graph = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        weights,
    )
    opsets = [helper.make_opsetid("", 20)]
    return mlcnn.load(helper.make_model(graph, opset_imports=opsets, ir_version=10))


def _one_after_the_other(after: ir.Model, before: ir.Model, options: mlcnn.MeasureOptions) -> float:
    """Ratio of medians on the clock, of two measurements that do not know of each other."""
    inputs = engines.random_inputs(before, 1)
    medians: list[float] = []
    for model in (before, after):
        session = engines.get(options.engines[0]).prepare(
            engines.fix_shapes(model, {name: array.shape for name, array in inputs.items()})
        )
        timing = engines.interleave({"it": session.runner(inputs)}, budget_s=options.budget_s / 2)
        medians.append(timing["it"].median_ms)
    return medians[1] / medians[0]


def _case(
    after: ir.Model, before: ir.Model, options: mlcnn.MeasureOptions, limit: float, runs: int
) -> str:
    verdicts, ratios, naive, trials = Counter[str](), list[float](), 0, 0
    start = time.monotonic()
    for _ in range(runs):
        ((_, found),) = slowdowns(after, before, options, limit, _silent)
        verdicts[found.verdict] += 1
        ratios.append(found.value)
        trials += len(found.ratios)
        naive += _one_after_the_other(after, before, options) > limit
    took = (time.monotonic() - start) / runs
    return (
        f"slower {verdicts['slower']}, within {verdicts['within']}, too noisy to tell "
        f"{verdicts['undecided']}; ratio {median(ratios):.3f} ({min(ratios):.3f} to "
        f"{max(ratios):.3f}), {trials / runs:.0f} trials; one after the other: slower {naive} "
        f"({took:.1f} s a run)"
    )


def _silent(stage: str, done: int, total: int) -> None:
    del stage, done, total


def main() -> None:
    """Print a line for each network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--limit", type=float, default=2.0, help="per cent")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--engine", default="onnxruntime")
    parser.add_argument("--more", type=int, nargs="+", default=[0, 1, 2], help="layers")
    given = parser.parse_args()
    options = mlcnn.MeasureOptions(engines=(given.engine,), budget_s=given.seconds)
    limit, before = 1 + given.limit / 100, network(0)
    print(f"{named()}; {given.engine}, limit {limit:g}, {given.runs} runs, load {_load()}")
    for layers in given.more:
        told = _case(network(layers), before, options, limit, given.runs)
        print(f"{layers * 10} % more work: {told}, load {_load()}", flush=True)


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
