"""ncnn, with Winograd convolution on and off, against the engines, batch 1, one thread.

Winograd F(4,3) saves as many multiplications on plain 3x3 layers as the fused pool does, and leaves
the network as it is: an honest comparison has it. The networks come to ncnn through pnnx, in fp32
storage and arithmetic. All runs of one process are interleaved. The figure is how many times as
fast as ncnn with Winograd native is, on the network before it is fused.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import ncnn
import numpy as np
import pnnx
import torch

from benchmarks import fresh
from benchmarks.interleaved import faster, largest_error, medians, prepare, samples
from benchmarks.results import Row, Rows, repeated, show
from benchmarks.targets import Figure, found_in
from mlcnn import engines, nn, zoo
from mlcnn.engines import MeasuredChooser
from mlcnn.graph import load_file, save
from mlcnn.passes import pipeline

__all__ = ["main"]

NETWORKS = ("vgg16", "googlenet", "vgg16-224")
ENGINES = ("onnxruntime", "openvino", "native")
_NCNN = "ncnn reordered, Winograd on"
_TOLERANCE = 1e-3  # F(6,3) transforms cost three digits


def write_networks(network: str, folder: str) -> None:
    """In a fresh process: the reordered and the fused network as ONNX and ncnn files.

    ncnn gets the fused network with the form ``box``, which its operators have.
    """
    torch.set_num_threads(1)
    passes = pipeline.parse("mlcnn")
    before = [item for item in passes if item.name != "fuse"]
    reordered = pipeline.run(zoo.load(network), before).model
    save(reordered, Path(folder) / "reordered.onnx")
    for engine in ENGINES:
        chooser = MeasuredChooser(engine, network_bytes=engines.weight_bytes(reordered))
        fuse = pipeline.configure(pipeline.parse("fuse"), chooser=chooser)
        save(pipeline.run(reordered, fuse).model, Path(folder) / f"fused-{engine}.onnx")
    box = pipeline.run(reordered, pipeline.parse("fuse{form=box}")).model
    image = torch.zeros(1, *zoo.describe(network).input_shape)
    os.chdir(folder)  # pnnx writes its files where it runs
    for name, model in (("reordered", reordered), ("box", box)):
        pnnx.export(nn.to_module(model), f"{name}.pt", (image,), fp16=False)


def _ncnn_runner(folder: Path, name: str, image: np.ndarray, winograd: bool) -> Callable[[], Any]:
    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.lightmode = True
    net.opt.use_winograd_convolution = winograd
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic"):
        setattr(net.opt, option, False)
    net.opt.use_bf16_storage = False
    if net.load_param(str(folder / f"{name}.ncnn.param")):
        raise RuntimeError(f"ncnn cannot read {name}.ncnn.param")
    if net.load_model(str(folder / f"{name}.ncnn.bin")):
        raise RuntimeError(f"ncnn cannot read {name}.ncnn.bin")
    given = ncnn.Mat(image[0])

    def run() -> Any:
        extractor = net.create_extractor()
        extractor.input("in0", given)
        return extractor.extract("out0")[1]

    return run


def _check(name: str, found: np.ndarray, expected: np.ndarray) -> None:
    error = largest_error(found, expected)
    if not error <= _TOLERANCE:
        raise RuntimeError(f"{name}: output differs by {error:.1e} of the largest value")


def time_networks(folder: str, budget_s: float, processor_time: bool) -> dict[str, Any]:
    """In a fresh process: interleaved samples of every engine and variant, in ms."""
    torch.set_num_threads(1)
    place = Path(folder)
    reordered = load_file(place / "reordered.onnx")
    inputs = engines.random_inputs(reordered, 1)
    (image,) = inputs.values()
    shapes = {name: array.shape for name, array in inputs.items()}
    (expected,) = engines.get("onnxruntime").prepare(reordered).run(inputs).values()
    runners: dict[str, Callable[[], Any]] = {}
    for name in ("reordered", "box"):
        for winograd in (False, True):
            label = f"ncnn {name}, Winograd {'on' if winograd else 'off'}"
            runners[label] = _ncnn_runner(place, name, np.asarray(image), winograd)
            _check(label, np.array(runners[label]()), np.asarray(expected[0]))
    for engine in ENGINES:
        for variant in ("reordered", f"fused-{engine}"):
            model = engines.fix_shapes(load_file(place / f"{variant}.onnx"), shapes)
            session = prepare(engine, model)
            (found,) = session.run(inputs).values()
            label = f"{engine} {variant.partition('-')[0]}"
            _check(label, np.asarray(found), np.asarray(expected))
            runners[label] = session.runner(inputs)
    return samples(runners, budget_s, processor_time=processor_time)


def row_of(network: str, parts: Sequence[dict[str, Any]]) -> Row:
    """What the fresh processes of one network say together."""
    ratios = [faster(one["samples"], "native reordered", [_NCNN]) for one in parts]
    times = [medians(one["samples"]) for one in parts]
    return {
        "network": network, "batch": 1, "processes": len(parts),
        "ratio": median(ratios), "ratios": ratios,
        "ms": {name: median(one[name] for one in times) for name in times[0]},
        **{key: median(one[key] for one in parts) for key in ("peak_gflops", "bandwidth_gbs")},
    }  # fmt: skip


def _lines(row: Row) -> list[list[str]]:
    best = min(row["ms"].values())
    return [
        [f"{row['network']}: {name}", f"{ms:.2f}", f"{ms / best:.2f}"]
        for name, ms in row["ms"].items()
    ]


def main() -> None:
    """Measure and print."""
    parser = repeated(__doc__, "winograd", seconds=6)
    parser.set_defaults(batch=[1])
    options = parser.parse_args()
    rows, networks = Rows(options, ("network",)), options.networks or NETWORKS
    for network in networks:
        if rows.done(options.processes, network=network):
            continue
        with tempfile.TemporaryDirectory() as folder:
            fresh.call("benchmarks.winograd:write_networks", network=network, folder=folder)
            parts = [
                fresh.call(
                    "benchmarks.winograd:time_networks", folder=folder,
                    budget_s=options.seconds, processor_time=options.processor_time,
                )
                for _ in range(options.processes)
            ]  # fmt: skip
        rows.put(row_of(network, parts))
    mine = [row for row in rows.rows if row["network"] in networks]
    columns = ["batch 1, one thread", "median ms", "times the best"]
    show("ncnn with and without Winograd", columns, [line for row in mine for line in _lines(row)])
    columns = [str(Figure.NCNN), "ratio", "least to most", "target", ""]
    show(
        "targets",
        columns,
        [[figure.network, *figure.cells()] for figure in found_in(mine, Figure.NCNN)],
    )
    print(f"results: {options.out}")


if __name__ == "__main__":
    main()
