"""The engines against each other on the networks as they are, one thread, interleaved in a process.

Each setting is measured in fresh processes pinned to one core. The figure is how many times as
fast as the better of ONNX Runtime and OpenVINO, both in float32, native is: the median over the
processes of the median of paired runs. Shares of the peak are of useful products: those with the
zeros of borders are not counted, and a transform that needs fewer may pass 100 %.
"""

from collections.abc import Sequence
from math import prod
from statistics import median
from typing import Any

import torch

from benchmarks import fresh, outside
from benchmarks.interleaved import OTHERS, faster, largest_error, medians, prepare, samples
from benchmarks.results import Row, Rows, repeated, show
from benchmarks.targets import Figure, found_in, targets_of
from mlcnn import engines, workload, zoo
from mlcnn.graph import fold_constants
from mlcnn.workload import ConvAxis, ConvLayer

__all__ = ["ENGINES", "main", "useful_products"]

ENGINES = (*OTHERS, "native")
_TOLERANCE = 1e-4


def time_engines(network: str, batch: int, budget_s: float, processor_time: bool) -> dict[str, Any]:
    """In a fresh process: samples of every engine in ms, after their outputs were compared."""
    torch.set_num_threads(1)
    model = zoo.load(network) if network in zoo.names() else outside.load(network)
    inputs = engines.random_inputs(model, batch)
    fixed = engines.fix_shapes(model, {name: array.shape for name, array in inputs.items()})
    sessions = {name: prepare(name, fixed) for name in ENGINES}
    outputs = {name: next(iter(session.run(inputs).values())) for name, session in sessions.items()}
    for name, found in outputs.items():
        error = largest_error(found, outputs[OTHERS[0]])
        if not error <= _TOLERANCE:
            raise RuntimeError(f"{name}: output differs by {error:.1e} of the largest value")
    runners = {name: session.runner(inputs) for name, session in sessions.items()}
    layers = workload.layers(fold_constants(fixed), batch=batch)
    return {
        **samples(runners, budget_s, processor_time=processor_time),
        "gflop": 2e-9 * sum(map(useful_products, layers)),
    }


def useful_products(layer: ConvLayer) -> int:
    """Products of a layer without those with the zeros around its input."""
    axes = [
        ConvAxis(size, kernel, stride, dilation, (before, after))
        for size, kernel, stride, dilation, before, after in zip(
            (layer.H, layer.W), (layer.R, layer.S), layer.strides, layer.dilations,
            layer.pads[:2], layer.pads[2:], strict=True,
        )
    ]  # fmt: skip
    if layer.depth is not None:
        axes.append(layer.depth)
    return layer.N * layer.K * (layer.C // layer.G) * prod(map(_taps, axes))


def _taps(axis: ConvAxis) -> int:
    """Taps that meet the input, summed over the results."""
    places = (
        result * axis.stride + tap * axis.dilation - axis.pads[0]
        for result in range(axis.outputs)
        for tap in range(axis.kernel)
    )
    return sum(0 <= place < axis.size for place in places)


def row_of(network: str, batch: int, parts: Sequence[dict[str, Any]]) -> Row:
    """What the fresh processes of one setting say together."""
    ratios = [faster(one["samples"], "native", OTHERS) for one in parts]
    times = [medians(one["samples"]) for one in parts]
    peak, gflop = median(one["peak_gflops"] for one in parts), parts[0]["gflop"]
    ms = {name: median(one[name] for one in times) for name in ENGINES}
    return {
        "network": network, "batch": batch, "processes": len(parts),
        "ratio": median(ratios), "ratios": ratios,
        "ms": ms, "ms_by_process": {name: [one[name] for one in times] for name in ENGINES},
        "gflop": gflop, "peak_gflops": peak,
        "bandwidth_gbs": median(one["bandwidth_gbs"] for one in parts),
        "peak_share": {name: gflop / spent * 1e3 / peak for name, spent in ms.items()},
    }  # fmt: skip


_COLUMNS = (
    "one thread", *(f"{name}, ms" for name in ENGINES), "times as fast", "least to most", "target",
    "", *(f"{name}: of peak" for name in ENGINES), "peak, GF/s", "GB/s",
)  # fmt: skip


def _shown(row: Row) -> list[str]:
    """A row of the table."""
    network, batch = row["network"], row["batch"]
    return [
        f"{network}, batch {batch}", *(f"{row['ms'][name]:.3f}" for name in ENGINES),
        *found_in([row], Figure.FP32)[0].cells(),
        *(f"{100 * row['peak_share'][name]:.0f} %" for name in ENGINES),
        f"{row['peak_gflops']:.0f}", f"{row['bandwidth_gbs']:.0f}",
    ]  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = repeated(__doc__, "engines", seconds=6)
    options = parser.parse_args()
    rows = Rows(options, ("network", "batch"))
    networks = options.networks or [name for name, _ in targets_of(Figure.FP32)]
    settings = [
        (network, batch)
        for network in dict.fromkeys(networks)
        for batch in options.batch or (1, 8)
    ]  # fmt: skip
    for network, batch in settings:
        if rows.done(options.processes, network=network, batch=batch):
            continue
        parts = [
            fresh.call(
                "benchmarks.engines:time_engines", network=network, batch=batch,
                budget_s=options.seconds, processor_time=options.processor_time,
            )
            for _ in range(options.processes)
        ]  # fmt: skip
        row = row_of(network, batch, parts)
        rows.put(row)
        print("; ".join(filter(None, _shown(row))), flush=True)
    mine = [_shown(row) for row in rows.rows if (row["network"], row["batch"]) in settings]
    show("native against the better other engine, float32", _COLUMNS, mine)
    print(f"results: {options.out}")


if __name__ == "__main__":
    main()
