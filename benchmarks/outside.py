"""Rewrites every network of a public model zoo and checks that exact passes change no output.

    python -m benchmarks.outside [--limit N] [--only TEXT] [--speed S] [--out runs/outside.jsonl]

The zoo is pytorchcv (over 800 architectures, of the extra `bench`; exported by the TorchScript
exporter, random weights and statistics) and the ONNX model zoo files that the `onnx` package ships.
Per network: load, `exact` pipeline, site checks in float64, then both networks in ONNX Runtime at
batch 1 and 2.
The error allowed at the output is that of ONNX Runtime against itself: four times the difference
between its optimised and its plain execution of the original, or 1e-5 of the largest value.
With ``--speed``, ONNX Runtime also times the reordered and the fused network in turn for so many
seconds (batch 1, one thread, processor time, pinned to one core), where something is fused: that
must not make a network slower.
Results are appended as they come; a second run goes on where the first stopped.
"""

import argparse
import contextlib
import importlib.util
import io
import json
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import torch
from torch import nn

from benchmarks import fresh, networks
from mlcnn import engines
from mlcnn.errors import InputError, MlcnnError
from mlcnn.graph import load_file, save
from mlcnn.passes import pipeline, verification

Row = dict[str, Any]

_SEED = 0
_FLOOR = 1e-5
_SLOWER = 0.97
# Larger and deeper networks repeat the same blocks, and their export alone takes minutes.
_LARGEST, _DEEPEST = 90_000_000, 3000  # parameters, modules


def _randomise(module: nn.Module) -> None:
    """Running statistics that a batch norm does not have before training."""
    generator = torch.Generator().manual_seed(_SEED)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            shape = part.running_mean.shape
            part.running_mean.copy_(0.1 * torch.randn(shape, generator=generator))
            part.running_var.copy_(0.7 + 0.6 * torch.rand(shape, generator=generator))


def _export(name: str, path: Path, *, dynamic: bool = True) -> None:
    from pytorchcv.model_provider import get_model  # noqa: PLC0415 - only this benchmark needs it

    torch.manual_seed(_SEED)
    module = get_model(name, pretrained=False).eval()
    parameters = sum(p.numel() for p in module.parameters())
    modules = sum(1 for _ in module.modules())
    if parameters > _LARGEST or modules > _DEEPEST:
        raise ValueError(f"skipped: {parameters:,} parameters, {modules:,} modules")
    with torch.no_grad():
        _randomise(module)
    size = getattr(module, "in_size", (224, 224))
    channels = getattr(module, "in_channels", 3)
    example = torch.randn(1, channels, *size)
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(
            module, (example,), str(path), dynamo=False, opset_version=13,
            input_names=["x"], dynamic_axes={"x": {0: "N"}} if dynamic else None,
        )  # fmt: skip


def _sources() -> Iterator[tuple[str, Path | None]]:
    folder = Path(onnx.__file__).parent / "backend/test/data/light"
    for path in sorted(folder.glob("*.onnx")):
        yield f"onnx:{path.stem}", path
    if importlib.util.find_spec("pytorchcv") is not None:
        from pytorchcv.model_provider import _models  # noqa: PLC0415

        for name in sorted(_models):
            yield f"pytorchcv:{name}", None


def load(name: str, *, dynamic: bool = True) -> ir.Model:
    """A network of the public zoo, with random weights and statistics.

    Args:
        name: as the results have it: ``pytorchcv:mobilenetv2_w1``.
        dynamic: leave the batch open. A network that turns channels around (ShuffleNet) is exported
            with sizes that nobody knows then; with batch 1 all of them are numbers.

    Raises:
        InputError: there is no such network here.
    """
    found = dict(_sources())
    if name not in found:
        raise InputError(f"network {name!r}: neither in the zoo nor in pytorchcv (extra 'bench')")
    path = found[name]
    if path is not None:
        return load_file(path)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        _export(name.partition(":")[2], path, dynamic=dynamic)
        return load_file(path)


def _session(path: Path, *, optimised: bool) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if not optimised:
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = level
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _inputs(session: onnxruntime.InferenceSession, batch: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(_SEED)
    result = {}
    for value in session.get_inputs():
        shape = [dim if isinstance(dim, int) else batch for dim in value.shape]
        result[value.name] = generator.standard_normal(shape).astype(np.float32)
    return result


def _run(path: Path, batch: int, *, optimised: bool = True) -> list[np.ndarray]:
    session = _session(path, optimised=optimised)
    return session.run(None, _inputs(session, batch))


def _error(reference: list[np.ndarray], other: list[np.ndarray]) -> float:
    errors = [0.0]
    for a, b in zip(reference, other, strict=True):
        if a.shape != b.shape:
            return float("inf")
        largest = float(np.abs(a).max()) if a.size else 0.0
        errors.append(float(np.abs(a - b).max()) / (largest or 1.0) if a.size else 0.0)
    return max(errors)


def _batches(path: Path) -> tuple[int, ...]:
    """Batch 2 as well where the network leaves the batch open."""
    first = _session(path, optimised=False).get_inputs()[0].shape[0]
    return (1,) if isinstance(first, int) else (1, 2)


def timed(
    variants: Mapping[str, ir.Model], engine: str, seconds: float
) -> dict[str, engines.Timing]:
    """Forms of one network in turn: batch 1, one thread, processor time.

    Args:
        variants: by name; all with the same inputs.
        engine: that runs them.
        seconds: for all of them together.
    """
    prepare = engines.get(engine).prepare
    inputs = engines.random_inputs(next(iter(variants.values())), 1)
    return engines.interleave(
        {name: prepare(model).runner(inputs) for name, model in variants.items()},
        budget_s=seconds,
        clock=time.process_time_ns,
    )


def _speed(network: ir.Model, seconds: float) -> Row:
    """Fused over reordered in ONNX Runtime; nothing where no site is worth fusing."""
    reordered = networks.reorder(network)
    result = networks.fuse(reordered, "onnxruntime", 1)
    if not result.changes:
        return {}
    timings = timed({"reordered": reordered, "fused": result.model}, "onnxruntime", seconds)
    found = engines.ratio(timings["reordered"], timings["fused"])
    return {
        "forms": dict(Counter(change.form for change in result.changes)),
        "reordered_ms": round(timings["reordered"].median_ms, 3),
        "speed_up": round(found.value, 3),
        "speed_up_between": [round(found.low, 3), round(found.high, 3)],
    }


def check(source: Path, folder: Path, seconds: float) -> Row:
    """Rewrite one file; every figure of its row."""
    started = time.perf_counter()
    network = load_file(source)
    loaded = time.perf_counter()
    result = pipeline.run(network, pipeline.parse("exact"))
    rewritten = time.perf_counter()
    checks = verification.verify(result)
    checked = time.perf_counter()
    target = folder / "rewritten.onnx"
    save(result.model, target)
    before = Counter(
        (n.domain, n.op_type) for n in onnx.load(source, load_external_data=False).graph.node
    )
    row: Row = {
        "nodes": sum(before.values()),
        "folded": sum(c.pass_name == "fold-batch-norm" for c in result.changes),
        "fused": sum(c.pass_name == "fuse" for c in result.changes),
        "site_error": checks.max_error,
        "load_s": round(loaded - started, 2),
        "passes_s": round(rewritten - loaded, 2),
        "check_s": round(checked - rewritten, 2),
    }
    worst, noise = 0.0, 0.0
    for batch in _batches(source):
        original = _run(source, batch)
        worst = max(worst, _error(original, _run(target, batch)))
        noise = max(noise, _error(original, _run(source, batch, optimised=False)))
    row |= {"output_error": worst, "engine_noise": noise, "batches": len(_batches(target))}
    row["ok"] = worst <= max(4 * noise, _FLOOR) and len(_batches(target)) == len(_batches(source))
    what_if = pipeline.run(network, pipeline.parse("mlcnn"))
    row["fused_if_fine_tuned"] = sum(c.pass_name == "fuse" for c in what_if.changes)
    return row | ({"timed_s": seconds, **_speed(network, seconds)} if seconds else {})


def _one(name: str, path: Path | None, seconds: float) -> Row:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if path is None:
            path = folder / "original.onnx"
            try:
                _export(name.partition(":")[2], path)
            except Exception as error:  # noqa: BLE001 - the exporter's failure, not ours
                return {"name": name, "ok": None, "why": f"not exported: {str(error)[:120]}"}
        try:
            return {"name": name, **check(path, folder, seconds)}
        except MlcnnError as error:
            return {"name": name, "ok": False, "why": str(error)[:300]}
        except Exception:  # noqa: BLE001 - a crash is what this looks for
            return {"name": name, "ok": False, "why": traceback.format_exc()[-900:]}


def _is_done(row: Row | None, seconds: float) -> bool:
    """Whether an earlier run has left what this one asks for, the timing included."""
    return row is not None and (not row["ok"] or row.get("timed_s", 0.0) >= seconds)


def _is_slower(row: Row) -> bool:
    """Beyond what the spread of its own rounds explains."""
    return row.get("speed_up_between", [1.0, 1.0])[1] < _SLOWER


def _summary(rows: list[Row]) -> str:
    tried = [row for row in rows if row["ok"] is not None]
    bad = [row for row in tried if not row["ok"]]
    fused = sum(bool(row.get("fused")) for row in tried)
    tuned = sum(bool(row.get("fused_if_fine_tuned")) for row in tried)
    lines = [
        f"{len(tried)} networks rewritten, {len(bad)} failed",
        f"{len(rows) - len(tried)} not exported",
        f"{fused} gain a fused site exactly, {tuned} after fine-tuning",
    ]
    timed = sorted((row for row in tried if "speed_up" in row), key=lambda row: row["speed_up"])
    if timed:
        first, last = timed[0], timed[-1]
        middle = median(row["speed_up"] for row in timed)
        lines.append(
            f"{len(timed)} timed: fused {middle:.2f} times as fast in the median, from "
            f"{first['speed_up']:.2f} ({first['name']}) to "
            f"{last['speed_up']:.2f} ({last['name']})"
        )
    lines += [f"  SLOWER {row['name']}: {row}" for row in timed if _is_slower(row)]
    lines += [f"  FAILED {row['name']}: {row.get('why', row)}" for row in bad]
    return "\n".join(lines)


def main() -> int:
    """Run the sweep; exit 1 if a network failed or got slower."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int, default=None, help="networks to try, evenly spread")
    parser.add_argument("--only", default="", help="only names that contain this")
    parser.add_argument("--speed", type=float, default=0.0, help="seconds of timing per network")
    parser.add_argument("--out", type=Path, default=Path("runs/outside.jsonl"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    core = fresh.core()
    if arguments.speed and core is not None:
        os.sched_setaffinity(0, {core})
    sources = [(n, p) for n, p in _sources() if arguments.only in n]
    if arguments.limit:
        step = max(1, len(sources) // arguments.limit)
        sources = sources[::step][: arguments.limit]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    done: dict[str, Row] = {}
    if arguments.out.exists():
        rows = (json.loads(line) for line in arguments.out.read_text().splitlines())
        done = {str(row["name"]): row for row in rows}
    with arguments.out.open("a") as journal:
        for index, (name, path) in enumerate(sources):
            if not _is_done(done.get(name), arguments.speed):
                done[name] = _one(name, path, arguments.speed)
                journal.write(json.dumps(done[name]) + "\n")
                journal.flush()
            print(f"[{index + 1}/{len(sources)}] {json.dumps(done[name])}", file=sys.stderr)
    rows = [done[name] for name, _ in sources]
    print(_summary(rows))
    return int(any(row["ok"] is False or _is_slower(row) for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
