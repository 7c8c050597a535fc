"""Variants of a network, prepared once and measured in fresh processes."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import onnx_ir as ir
import torch

from benchmarks import fresh
from benchmarks.interleaved import clock_of, core_figures, medians
from mlcnn import engines, zoo
from mlcnn.engines import Bench, MeasuredChooser
from mlcnn.graph import load_file, save
from mlcnn.passes import pipeline

__all__ = [
    "Measured",
    "Prepared",
    "Setting",
    "fuse",
    "measure",
    "prepare",
    "reorder",
    "rounds",
    "tell",
]

_PASSES = pipeline.parse("mlcnn")
_FUSE = next(i for i, item in enumerate(_PASSES) if item.name == "fuse")  # forms are given from it


@dataclass(frozen=True, slots=True)
class Setting:
    """A network in an engine at a batch size, one thread."""

    network: str
    engine: str
    batch: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """Files of a setting's variants, and how the sites were fused.

    Attributes:
        files: path by variant.
        forms: form and reason by layer.
        left: reason by layer that was left as it is.
    """

    files: Mapping[str, str]
    forms: Mapping[str, tuple[str, str]]
    left: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Measured:
    """What the fresh processes say about one setting.

    Attributes:
        setting: what was measured.
        median_ms: by variant, over all samples of all processes.
        quartiles_ms: likewise, (first, third).
        ratios: reordered over fused, the median of each process.
        by_process_ms: median by variant, of each process.
        peak_gflops: of the core, by process, where it could be measured.
        reason: why there is nothing, if so.
    """

    setting: Setting
    median_ms: Mapping[str, float]
    quartiles_ms: Mapping[str, tuple[float, float]]
    ratios: tuple[float, ...]
    by_process_ms: tuple[Mapping[str, float], ...]
    peak_gflops: tuple[float, ...]
    reason: str = ""

    @property
    def ratio(self) -> float:
        """Median over the processes."""
        return median(self.ratios) if self.ratios else float("nan")

    def to_json(self) -> dict[str, Any]:
        """For the results file."""
        return {
            "network": self.setting.network,
            "engine": self.setting.engine,
            "batch": self.setting.batch,
            "processes": len(self.by_process_ms),
            "median_ms": dict(self.median_ms),
            "quartiles_ms": {name: list(pair) for name, pair in self.quartiles_ms.items()},
            "ratio": self.ratio if self.ratios else None,
            "ratios": list(self.ratios),
            "by_process_ms": list(map(dict, self.by_process_ms)),
            "peak_gflops": median(self.peak_gflops) if self.peak_gflops else None,
            "reason": self.reason,
        }


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def reorder(original: ir.Model) -> ir.Model:
    """The network with activations behind average pools, not yet fused."""
    return pipeline.run(original, _PASSES[:_FUSE]).model


def fuse(reordered: ir.Model, engine: str, batch: int) -> pipeline.PipelineResult:
    """The fused network, each site in the form that runs fastest."""
    chooser = MeasuredChooser(engine, batch, network_bytes=engines.weight_bytes(reordered))
    return pipeline.run(reordered, pipeline.configure(_PASSES[_FUSE:], chooser=chooser))


def write_variants(network: str, folder: str, settings: Sequence[Sequence[Any]]) -> list[Any]:
    """In a fresh process: write the variants of one network; forms are chosen by measurement.

    Args:
        network: a name of the zoo.
        folder: for the files.
        settings: (engine, batch).

    Returns:
        Per setting: files, forms, and sites left alone.
    """
    with _one_thread():
        original = zoo.load(network)
        reordered = reorder(original)
        written = {
            "original": _write(original, folder, "original"),
            "reordered": _write(reordered, folder, "reordered"),
        }
        found: list[Any] = []
        for engine, batch in settings:
            result = fuse(reordered, engine, batch)
            forms = {c.nodes[0]: (c.form, c.reason) for c in result.changes}
            left = {skip.node: skip.reason for skip in result.skipped}
            files = dict(written)
            if forms:
                kinds = repr([(name, form) for name, (form, _) in forms.items()])
                name = f"fused-{hashlib.sha256(kinds.encode()).hexdigest()[:12]}"
                files["fused"] = _write(result.model, folder, name)
            found.append([files, forms, left])
    return found


def _write(model: ir.Model, folder: str, name: str) -> str:
    path = Path(folder) / f"{name}.onnx"
    if not path.exists():
        save(model, path)
    return str(path)


def prepare(settings: Sequence[Setting], folder: Path) -> dict[Setting, Prepared]:
    """Write the variants of all settings, one fresh process per network."""
    found: dict[Setting, Prepared] = {}
    for network in dict.fromkeys(setting.network for setting in settings):
        mine = [setting for setting in settings if setting.network == network]
        place = folder / network
        place.mkdir(parents=True, exist_ok=True)
        results = fresh.call(
            "benchmarks.networks:write_variants",
            network=network,
            folder=str(place),
            settings=[[setting.engine, setting.batch] for setting in mine],
        )
        for setting, (files, forms, left) in zip(mine, results, strict=True):
            pairs = {name: (form, reason) for name, (form, reason) in forms.items()}
            found[setting] = Prepared(files, pairs, left)
    return found


def time_variants(
    files: Mapping[str, str], engine: str, batch: int, budget_s: float, processor_time: bool
) -> dict[str, Any]:
    """In a fresh process: interleaved samples of each variant, in ms, and the paired ratio."""
    clock = clock_of(processor_time=processor_time)
    with _one_thread():
        models = {variant: load_file(Path(path)) for variant, path in files.items()}
        found: Bench = engines.bench(
            models, engines=[engine], batches=[batch], budget_s=budget_s, clock=clock
        )
    speedup = found.speedup(engine, "fused", "reordered", batch)
    return {
        "samples_ms": {row.variant: row.timing.samples_ms for row in found.results},
        "ratio": None if speedup is None else speedup.value,
        "reason": "; ".join(dict.fromkeys(skip.reason for skip in found.skipped)),
        **core_figures(),
    }


def rounds(
    prepared: Mapping[Setting, Prepared],
    *,
    processes: int,
    budget_s: float,
    processor_time: bool = False,
    variants: Sequence[str] = ("original", "reordered", "fused"),
) -> Iterator[tuple[Setting, dict[str, Any]]]:
    """Measure all settings, then all again, and so on: each time in a fresh process.

    Args:
        prepared: the files.
        processes: fresh processes per setting.
        budget_s: seconds of measuring per process.
        processor_time: instead of the time on the wall.
        variants: which of them.

    Yields:
        The setting and what ``time_variants`` returned.
    """
    for _ in range(processes):
        for setting, files in prepared.items():
            chosen = {name: path for name, path in files.files.items() if name in variants}
            yield (
                setting,
                fresh.call(
                    "benchmarks.networks:time_variants",
                    files=chosen,
                    engine=setting.engine,
                    batch=setting.batch,
                    budget_s=budget_s,
                    processor_time=processor_time,
                ),
            )


def tell(setting: Setting, result: Mapping[str, Any]) -> None:
    """Print what one fresh process found."""
    ratio = "" if result["ratio"] is None else f"{result['ratio']:.3f}"
    where = f"{setting.network}, batch {setting.batch}, {setting.engine}"
    print(f"{where}: {ratio or result['reason'] or 'nothing to fuse'}", flush=True)


def measure(setting: Setting, results: Sequence[Mapping[str, Any]]) -> Measured:
    """Put the processes of one setting together."""
    pooled: dict[str, list[float]] = {}
    for result in results:
        for variant, samples in result["samples_ms"].items():
            pooled.setdefault(variant, []).extend(samples)
    timings = {name: engines.Timing(tuple(samples)) for name, samples in pooled.items()}
    return Measured(
        setting,
        {name: timing.median_ms for name, timing in timings.items()},
        {name: (timing.q1_ms, timing.q3_ms) for name, timing in timings.items()},
        tuple(result["ratio"] for result in results if result["ratio"] is not None),
        tuple(medians(result["samples_ms"]) for result in results),
        tuple(result["peak_gflops"] for result in results if "peak_gflops" in result),
        "; ".join(dict.fromkeys(r["reason"] for r in results if r["reason"])),
    )
