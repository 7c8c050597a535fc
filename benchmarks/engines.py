"""The engines against each other on the networks as they are, one thread, interleaved in a process.

Each setting is measured in fresh processes pinned to one core. The figure is how many times as
fast as ONNX Runtime an engine is: the median over the processes of the median of paired runs.
"""

import time
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks import fresh, outside
from benchmarks.results import arguments, show, split, spread, write
from mlcnn import counting, engines, zoo
from mlcnn.engines.native.library import load
from mlcnn.engines.native.machine import measure

__all__ = ["main"]

_BASE = "onnxruntime"
_TOLERANCE = 1e-4


def time_engines(
    network: str, batch: int, names: list[str], budget_s: float, processor_time: bool
) -> dict[str, Any]:
    """In a fresh process: samples of every engine in ms, after their outputs were compared.

    And what the core does in registers, and reads from memory, in the same process.
    """
    torch.set_num_threads(1)
    model = zoo.load(network) if network in zoo.names() else outside.load(network)
    inputs = engines.random_inputs(model, batch)
    fixed = engines.fix_shapes(model, {name: array.shape for name, array in inputs.items()})
    sessions = {name: engines.get(name).prepare(fixed) for name in names}
    outputs = {name: next(iter(session.run(inputs).values())) for name, session in sessions.items()}
    expected = np.asarray(outputs[_BASE])
    for name, found in outputs.items():
        error = float(np.abs(found - expected).max() / np.abs(expected).max())
        if not error <= _TOLERANCE:
            raise RuntimeError(f"{name}: output differs by {error:.1e} of the largest value")
    runners = {name: session.runner(inputs) for name, session in sessions.items()}
    clock = time.process_time_ns if processor_time else time.perf_counter_ns
    timings = engines.interleave(runners, budget_s=budget_s, clock=clock)
    core = measure(load())
    return {
        "samples": {name: list(timing.samples_ms) for name, timing in timings.items()},
        "peak_gflops": core.gflops,
        "bandwidth_gbs": core.bytes_per_s / 1e9,
        "gflop": 2e-9 * counting.count(model).before.multiplications * batch,
    }


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, "engines")
    parser.add_argument(
        "--networks", type=split, default=list(zoo.names()),
        help="of the zoo, or of benchmarks.outside: pytorchcv:mobilenetv2_w1",
    )  # fmt: skip
    parser.add_argument("--engines", type=split, default=["openvino", "native"])
    parser.add_argument("--batches", type=split, default=["1", "8"])
    parser.add_argument("--processes", type=int, default=3, help="fresh processes per setting")
    parser.add_argument("--seconds", type=float, default=3.0, help="of measuring per process")
    options = parser.parse_args()
    names = [_BASE, *(name for name in options.engines if name != _BASE)]
    rows: list[list[str]] = []
    found: list[dict[str, Any]] = []
    for network in options.networks:
        for batch in map(int, options.batches):
            found_here = [
                fresh.call(
                    "benchmarks.engines:time_engines", network=network, batch=batch, names=names,
                    budget_s=options.seconds, processor_time=options.processor_time,
                )
                for _ in range(options.processes)
            ]  # fmt: skip
            samples = [one["samples"] for one in found_here]
            peak = median(one["peak_gflops"] for one in found_here)
            work, bandwidth = (
                found_here[0]["gflop"],
                median(one["bandwidth_gbs"] for one in found_here),
            )
            ms = {name: median(median(sample[name]) for sample in samples) for name in names}
            row = [f"{network}, batch {batch}", f"{peak:.0f}", f"{ms[_BASE]:.3f}"]
            for name in names[1:]:
                ratios = [
                    median(a / b for a, b in zip(sample[_BASE], sample[name], strict=True))
                    for sample in samples
                ]
                row += [f"{median(ratios):.2f}", spread(ratios)]
                setting = {"network": network, "batch": batch, "engine": name}
                found.append({**setting, "ratio": median(ratios), "ratios": ratios})
            row += [f"{100 * work / ms[name] * 1e3 / peak:.0f} %" for name in names]
            found += [
                {
                    "network": network, "batch": batch, "engine": name, "ms": ms[name],
                    "peak_share": work / ms[name] * 1e3 / peak, "peak_gflops": peak,
                    "bandwidth_gbs": bandwidth,
                }
                for name in names
            ]  # fmt: skip
            print("; ".join(row), flush=True)
            rows.append(row)
    columns = ["one thread", "peak, GF/s", f"{_BASE} ms"]
    for name in names[1:]:
        columns += [f"{name}: times as fast", "least to most"]
    columns += [f"{name}: of peak" for name in names]
    show("engines on original networks", columns, rows)
    write(options, {"results": found})
    print(f"results: {options.out}")


if __name__ == "__main__":
    main()
