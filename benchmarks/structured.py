"""Layers and networks in block-circulant weights over their dense selves, one thread.

    python -m benchmarks.structured            # everything
    python -m benchmarks.structured layers     # or networks

Layers are timed in every form that an engine runs, beside the dense layer of ONNX Runtime, all in
turn in one process; the figure is that of the best form, which `choose` takes. Small weights stay
in the caches from run to run where dense ones do not: layers of large weights are timed again with
64 MB read in between, as in a network that is larger than the caches. Networks are timed as
`choose` leaves them, over the dense network in the same engine.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from onnx import TensorProto, helper, numpy_helper

from benchmarks import fresh
from benchmarks.interleaved import largest_error, medians, samples
from benchmarks.results import Row, Rows, repeated, show
from benchmarks.targets import spread
from mlcnn import engines, zoo
from mlcnn.engines import MeasuredChooser
from mlcnn.errors import UnsupportedError
from mlcnn.graph import from_proto, load_file, save
from mlcnn.passes import pipeline

__all__ = ["main"]

DENSE = "onnxruntime dense"
_FORMS = ("spectral", "spectral-pairs", "spectral-batch")
_TOLERANCE = 1e-4
_OTHERS_BYTES = 2**26


@dataclass(frozen=True, slots=True)
class LayerCase:
    """A layer, and how many times as fast as the dense one it has to be.

    Attributes:
        name: of it.
        outputs: channels or features.
        inputs: channels or features.
        side: of the images; 0 for a dense layer.
        batch: images.
        targets: (engine, block size) to the least ratio; None where none is set.
        memory: whether what ran in between has taken the caches.
    """

    name: str
    outputs: int
    inputs: int
    side: int
    batch: int
    targets: Mapping[tuple[str, int], float | None]
    memory: bool = False

    @property
    def label(self) -> str:
        """What stands in its row."""
        return f"{self.name}{', from memory' if self.memory else ''}"


@dataclass(frozen=True, slots=True)
class NetworkCase:
    """A network, what is done to it, and how much faster it has to be.

    Attributes:
        name: of it.
        network: of the zoo.
        before: passes of the dense network that it is held against.
        passes: of the other one.
        engine: that runs both.
        targets: batch to the least ratio.
    """

    name: str
    network: str
    before: str
    passes: str
    engine: str
    targets: Mapping[int, float]


_ORT, _NATIVE = "onnxruntime", "native"

_LAYERS = (
    LayerCase("4096 x 4096", 4096, 4096, 0, 1, {
        (_ORT, 8): 4.5, (_ORT, 16): 9, (_ORT, 64): 35, (_NATIVE, 8): 12}),
    LayerCase("4096 x 4096", 4096, 4096, 0, 16, {
        (_ORT, 8): 2.2, (_ORT, 16): 4.5, (_ORT, 64): 10}),
    LayerCase("9216 x 4096", 4096, 9216, 0, 1, {(_ORT, 8): 2.7, (_ORT, 16): 5, (_ORT, 64): 50}),
    LayerCase("512 x 512", 512, 512, 0, 1, {(_ORT, 8): 1.6, (_ORT, 64): None}),
    LayerCase("64 channels at 32 x 32", 64, 64, 32, 1, {(_ORT, 8): None, (_NATIVE, 8): 2.3}),
    LayerCase("64 channels at 32 x 32", 64, 64, 32, 16, {(_ORT, 8): None, (_NATIVE, 8): 3.8}),
    LayerCase("128 channels at 16 x 16", 128, 128, 16, 1, {(_ORT, 8): 2.0, (_NATIVE, 8): 3.8}),
    LayerCase("128 channels at 16 x 16", 128, 128, 16, 16, {(_ORT, 8): 1.9, (_NATIVE, 8): 4.0}),
    LayerCase("256 channels at 8 x 8", 256, 256, 8, 1, {(_ORT, 8): 2.9}),
    LayerCase("256 channels at 8 x 8", 256, 256, 8, 16, {(_ORT, 8): 2.7}),
    LayerCase("512 channels at 4 x 4", 512, 512, 4, 1, {(_ORT, 8): 4.4, (_ORT, 16): 9}),
    LayerCase("512 channels at 4 x 4", 512, 512, 4, 16, {(_ORT, 8): 3.8, (_ORT, 16): 8}),
)  # fmt: skip
_LARGE = 4096 * 4096
LAYERS = (
    *_LAYERS,
    *(replace(c, memory=True) for c in _LAYERS if not c.side and c.outputs * c.inputs >= _LARGE),
)
NETWORKS = (
    NetworkCase("blocks of 8", "vgg16", "", "block-circulant{block=8},choose", _ORT,
                {1: 2.4, 8: 2.3}),
    NetworkCase("blocks of 16", "vgg16", "", "block-circulant{block=16},choose", _ORT,
                {1: 3.6, 8: 3.3}),
    NetworkCase("reordered, blocks of 8, fused", "vgg16", "max-to-average,reorder",
                "max-to-average,reorder,block-circulant{block=8},fuse,choose", _ORT,
                {1: 3.2, 8: 3.3}),
    NetworkCase("reordered, blocks of 8, fused", "vgg16", "max-to-average,reorder",
                "max-to-average,reorder,block-circulant{block=8},fuse,choose", _NATIVE, {1: 4.0}),
    NetworkCase("dense 16, convolutions 8", "alexnet-224", "",
                "block-circulant{block=8+classifier.1=16+classifier.4=16},choose", _ORT,
                {1: 2.7, 16: 2.2}),
)  # fmt: skip
_SMALL = "block-circulant{block=8+classifier.1=64+classifier.4=64,layers=all},choose"
_SMALL_LIMIT_MB = 35


def _layer(case: LayerCase) -> ir.Model:
    """The dense layer, its weights random."""
    generator = np.random.default_rng(0)
    shape = (case.outputs, case.inputs) + ((3, 3) if case.side else ())
    scale = 1 / np.sqrt(np.prod(shape[1:]))
    arrays = {
        "layer.weight": scale * generator.standard_normal(shape, np.float32),
        "layer.bias": generator.standard_normal(case.outputs, np.float32),
    }
    inputs, sides = ["x", *arrays], [case.side] * 2 if case.side else []
    node = (
        helper.make_node("Conv", inputs, ["y"], name="layer", pads=[1] * 4)
        if case.side
        else helper.make_node("Gemm", inputs, ["y"], name="layer", transB=1)
    )
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", case.inputs, *sides])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", case.outputs, *sides])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()],
    )
    opset = helper.make_opsetid("", 20)
    return from_proto(helper.make_model(graph, opset_imports=[opset], ir_version=10))


def _runners(case: LayerCase) -> dict[str, Callable[[], object]]:
    """The dense layer, and every form of it, in each engine that runs it."""
    dense = _layer(case)
    inputs = engines.random_inputs(dense, case.batch)
    shapes = {name: array.shape for name, array in inputs.items()}
    found = {DENSE: engines.get(_ORT).prepare(engines.fix_shapes(dense, shapes)).runner(inputs)}
    for engine, block in case.targets:
        if engine not in engines.available():
            continue
        blocks = f"block-circulant{{block={block},ends=true}}"
        plain = pipeline.run(dense, pipeline.parse(blocks)).model
        (expected,) = engines.get(_ORT).prepare(plain).run(inputs).values()
        for form in _FORMS:
            result = pipeline.run(plain, pipeline.parse(f"choose{{form={form}}}"))
            try:
                session = engines.get(engine).prepare(engines.fix_shapes(result.model, shapes))
                (told,) = session.run(inputs).values()
            except UnsupportedError:
                continue
            if not result.changes:
                continue
            error = largest_error(np.asarray(told), np.asarray(expected))
            if not error <= _TOLERANCE:
                raise RuntimeError(f"{case.name}, {form}: output differs by {error:.1e}")
            found[f"{engine} {block} {form}"] = session.runner(inputs)
    return found


def time_layers(names: Sequence[str], budget_s: float, processor_time: bool) -> list[Any]:
    """In a fresh process: samples of every form of each layer, in ms."""
    torch.set_num_threads(1)
    others = np.ones(_OTHERS_BYTES // 4, np.float32)
    return [
        samples(
            _runners(case), budget_s, processor_time=processor_time,
            between=others.sum if case.memory else None,
        )["samples"]
        for case in LAYERS
        if case.name in names
    ]  # fmt: skip


def _rewritten(model: ir.Model, passes: str, engine: str, batch: int) -> ir.Model:
    if not passes:
        return model
    chooser = MeasuredChooser(
        engine, batch, budget_s=0.2, network_bytes=engines.weight_bytes(model)
    )
    return pipeline.run(model, pipeline.configure(pipeline.parse(passes), chooser=chooser)).model


def write_network(folder: str, index: int) -> dict[str, float]:
    """In a fresh process: the files of a case, and their sizes in MB."""
    torch.set_num_threads(1)
    case, place = NETWORKS[index], Path(folder)
    original = zoo.load(case.network)
    files = {"dense": _rewritten(original, case.before, case.engine, 1)}
    for batch in case.targets:
        files[f"blocks-{batch}"] = _rewritten(original, case.passes, case.engine, batch)
    if case.network == "alexnet-224":
        files["small"] = _rewritten(original, _SMALL, case.engine, 1)
    for name, model in files.items():
        save(model, place / f"{name}.onnx")
    return {name: (place / f"{name}.onnx").stat().st_size / 1e6 for name in files}


def time_network(
    folder: str, engine: str, batch: int, budget_s: float, processor_time: bool
) -> dict[str, Any]:
    """In a fresh process: samples of the dense network and the one in blocks, in ms."""
    torch.set_num_threads(1)
    runners: dict[str, Callable[[], object]] = {}
    for name in ("dense", f"blocks-{batch}"):
        model = load_file(Path(folder) / f"{name}.onnx")
        inputs = engines.random_inputs(model, batch)
        shapes = {key: array.shape for key, array in inputs.items()}
        session = engines.get(engine).prepare(engines.fix_shapes(model, shapes))
        runners[name.partition("-")[0]] = session.runner(inputs)
    return samples(runners, budget_s, processor_time=processor_time)["samples"]


def _ratios(parts: Sequence[Mapping[str, Sequence[float]]], dense: str, mine: str) -> list[float]:
    """Dense over mine in each process: the median over the rounds."""
    return [median(a / b for a, b in zip(part[dense], part[mine], strict=True)) for part in parts]


def layer_rows(case: LayerCase, parts: Sequence[Mapping[str, Sequence[float]]]) -> list[Row]:
    """A row for each engine and block size: its best form."""
    rows: list[Row] = []
    for (engine, block), target in case.targets.items():
        label = f"{engine} {block} "
        forms = [name for name in parts[0] if name.startswith(label)]
        if not forms:
            continue
        ratios = {name: _ratios(parts, DENSE, name) for name in forms}
        best = max(forms, key=lambda name: median(ratios[name]))
        rows.append({
            "case": case.label, "engine": engine, "blocks": f"{block}", "batch": case.batch,
            "form": best.removeprefix(label), "target": target, "processes": len(parts),
            "ratio": median(ratios[best]), "ratios": ratios[best],
            "by_form": {name.removeprefix(label): median(ratios[name]) for name in forms},
            "ms": {n: median(medians(part)[n] for part in parts) for n in (DENSE, best)},
        })  # fmt: skip
    return rows


def _put_layers(rows: Rows, options: Any) -> None:
    for name in dict.fromkeys(case.name for case in LAYERS):
        cases = [case for case in LAYERS if case.name == name]
        if all(
            rows.done(
                options.processes, case=case.label, engine=engine, blocks=f"{k}", batch=case.batch
            )
            for case in cases for engine, k in case.targets
        ):  # fmt: skip
            continue
        parts = [
            fresh.call(
                "benchmarks.structured:time_layers", names=[name], budget_s=options.seconds,
                processor_time=options.processor_time,
            )
            for _ in range(options.processes)
        ]  # fmt: skip
        for index, case in enumerate(cases):
            for row in layer_rows(case, [part[index] for part in parts]):
                rows.put(row)


def _put_networks(rows: Rows, options: Any) -> None:
    for index, case in enumerate(NETWORKS):
        name = f"{case.network}, {case.name}"
        key = {"case": name, "engine": case.engine, "blocks": case.passes}
        missing = [b for b in case.targets if not rows.done(options.processes, batch=b, **key)]
        if not missing or case.engine not in engines.available():
            continue
        with tempfile.TemporaryDirectory() as folder:
            sizes = fresh.call("benchmarks.structured:write_network", folder=folder, index=index)
            for batch in missing:
                parts = [
                    fresh.call(
                        "benchmarks.structured:time_network", folder=folder, engine=case.engine,
                        batch=batch, budget_s=options.seconds,
                        processor_time=options.processor_time,
                    )
                    for _ in range(options.processes)
                ]  # fmt: skip
                ratios = _ratios(parts, "dense", "blocks")
                rows.put({
                    **key, "batch": batch, "form": "choose", "target": case.targets[batch],
                    "processes": len(parts), "ratio": median(ratios), "ratios": ratios,
                    "ms": {n: median(medians(part)[n] for part in parts) for n in parts[0]},
                    "megabytes": sizes,
                })  # fmt: skip


def _line(row: Row) -> list[str]:
    target = row["target"]
    verdict = "" if target is None else "reached" if row["ratio"] >= target else "missed"
    blocks = row["blocks"] if row["blocks"].isdecimal() else ""
    return [
        row["case"], row["engine"], blocks, str(row["batch"]), row["form"],
        *(f"{ms:.3f}" for ms in row["ms"].values()), f"{row['ratio']:.2f}", spread(row["ratios"]),
        "" if target is None else f"{target:g}", verdict,
    ]  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = repeated(__doc__, "structured", seconds=1.0, processes=3)
    options = parser.parse_args()
    rows, parts = Rows(options, ("case", "engine", "blocks", "batch")), options.networks
    if not parts or "layers" in parts:
        _put_layers(rows, options)
    if not parts or "networks" in parts:
        _put_networks(rows, options)
    columns = ["", "engine", "k", "batch", "form", "dense ms", "ms", "ratio", "least to most"]
    show("blocks over dense", [*columns, "target", ""], [_line(row) for row in rows.rows])
    for row in rows.rows:
        if "small" in row.get("megabytes", {}):
            sizes = row["megabytes"]
            print(
                f"{row['case']}: {sizes['dense']:.0f} MB dense, {sizes['blocks-1']:.1f} MB in "
                f"blocks, {sizes['small']:.1f} MB with dense layers in blocks of 64 (at most "
                f"{_SMALL_LIMIT_MB})"
            )
            break
    print(f"results: {options.out}")


if __name__ == "__main__":
    main()
