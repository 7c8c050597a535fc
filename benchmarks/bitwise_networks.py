"""Whole networks of few bits in native, over ONNX Runtime in FP32 and in INT8.

Networks of the zoo with weights at random, rounded as `mlcnn quantize --finetune` rounds them
before it trains (first and last layer in 8 bits), and in 8 bits by ONNX Runtime's quantiser. One
image, one thread, processor time, interleaved in fresh processes; ratios are medians of pairs, and
of the processes:

    python -m benchmarks.bitwise_networks
    python -m benchmarks.bitwise_networks resnet20 --bits 2,2 --layers
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx_ir as ir

from benchmarks import fresh
from benchmarks.interleaved import faster, prepare, samples
from benchmarks.quantising import images, quantised
from mlcnn import engines, workload, zoo
from mlcnn.engines.processor import named
from mlcnn.graph import load_file, save
from mlcnn.passes import FoldBatchNorm
from mlcnn.training.quantisation.fine_tuning import rounded_module

__all__ = ["main", "time_files", "write_files"]

_NETWORKS = ("resnet18-224", "vgg16", "resnet20", "lenet5")
_BITS = ("1,2", "2,2")
_IMAGES = 8  # that ranges come from
# Products in registers over the peak in FP32: of two bits 512 in three instructions, of which two
# run at once, and of two bytes.
_PLANES, _BYTES = 512 / 3 * 2 / 16, 4
_MOST_PLANES = 8

Samples = Mapping[str, Sequence[float]]


def _shape(model: ir.Model) -> tuple[int, ...]:
    """Of one image."""
    shape = model.graph.inputs[0].shape
    return (1, *(size for size in (() if shape is None else shape.dims[1:]) if type(size) is int))


def _silent(step: str, done: int, total: int) -> None:
    """Say nothing."""


def write_files(network: str, bits: Sequence[str], folder: str) -> dict[str, str]:
    """In a fresh process: path by precision."""
    model = zoo.load(network)
    folded = FoldBatchNorm().apply(model).model
    found = {"fp32": folded, "int8": quantised(folded)}
    given = np.concatenate([*images(_shape(model), _IMAGES)])
    for pair in bits:
        weight, source = map(int, pair.split(","))
        rounded = rounded_module(
            model, given, weight_bits=weight, input_bits=source, progress=_silent
        )
        found[f"W{weight}A{source}"] = rounded.to_codes()
    paths = {name: Path(folder) / f"{name}.onnx" for name in found}
    for name, path in paths.items():
        save(found[name], path)
    return {name: str(path) for name, path in paths.items()}


def time_files(files: dict[str, str], budget_s: float) -> dict[str, Any]:
    """In a fresh process: samples by engine and precision in ms, and what computed each layer."""
    sessions, inputs = dict[str, Any](), dict[str, Any]()
    for name, path in files.items():
        model = load_file(Path(path))
        inputs = engines.random_inputs(model, 1)
        names = ("onnxruntime", "native") if name in {"fp32", "int8"} else ("native",)
        fixed = engines.fix_shapes(model, {model.graph.inputs[0].name or "": _shape(model)})
        sessions |= {f"{engine} {name}": prepare(engine, fixed) for engine in names}
    runners = {name: session.runner(inputs) for name, session in sessions.items()}
    layers = {
        name: [[each.layer, each.geometry, each.algorithm, each.reason] for each in s.algorithms]
        for name, s in sessions.items()
        if name.startswith("native W")
    }
    return {**samples(runners, budget_s, processor_time=True), "layers": layers}


def _bound(path: str, name: str) -> tuple[float, float]:
    """Products of a network, and the least of them that it takes the time of in FP32."""
    weight, _, source = name.removeprefix("W").partition("A")
    planes = int(weight) * int(source)
    macs = least = 0.0
    for layer in workload.read(load_file(Path(path))).layers:
        few = layer.numbers.weight < 8 and planes <= _MOST_PLANES
        macs += layer.nest.macs
        least += layer.nest.macs / (_PLANES / planes if few else _BYTES)
    return macs, least


def _told(network: str, files: Mapping[str, str], parts: Sequence[dict[str, Any]]) -> list[str]:
    """What the processes of a network say together."""
    timed: list[Samples] = [part["samples"] for part in parts]
    ms = {name: median(median(one[name]) for one in timed) for name in timed[0]}
    peak = median(part["peak_gflops"] for part in parts) / 2 * 1e6  # products a ms
    lines = [f"{network}: " + ", ".join(f"{name} {value:.4g} ms" for name, value in ms.items())]
    for name in files:
        mine = f"native {name}"
        if not name.startswith("W"):
            continue
        over = [
            _spread([faster(one, mine, [base]) for one in timed])
            for base in ("onnxruntime fp32", "onnxruntime int8")
        ]
        every = [base for base in ms if not base.startswith("native W")]
        best = _spread([faster(one, mine, every) for one in timed])
        macs, least = _bound(files[name], name)
        lines.append(
            f"  {name}: {' | '.join(over)} of ONNX Runtime in FP32 | INT8; {best} of the best of "
            f"these; {macs / ms[mine] / peak:.2f} of the peak in FP32, "
            f"{least / ms[mine] / peak:.2f} of what the instructions allow"
        )
    return lines


def _spread(ratios: Sequence[float]) -> str:
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def main() -> None:
    """Print how many times as fast native is."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bitwise_networks",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("networks", nargs="*", default=_NETWORKS, metavar="NETWORK")
    parser.add_argument("--bits", nargs="+", default=_BITS, help="of weights and inputs, as 1,2")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each process")
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--layers", action="store_true", help="say what computes each layer")
    given = parser.parse_args()
    print(named())
    for network in given.networks:
        with tempfile.TemporaryDirectory() as folder:
            files = fresh.call(
                "benchmarks.bitwise_networks:write_files",
                network=network, bits=given.bits, folder=folder,
            )  # fmt: skip
            parts = [
                fresh.call(
                    "benchmarks.bitwise_networks:time_files", files=files, budget_s=given.seconds
                )
                for _ in range(given.processes)
            ]
            print(*_told(network, files, parts), sep="\n", flush=True)
        for name, layers in parts[0]["layers"].items() if given.layers else ():
            print(*(f"    {name[7:]} {': '.join(layer)}" for layer in layers), sep="\n")


if __name__ == "__main__":
    main()
