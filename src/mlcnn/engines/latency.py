"""Latency of the variants of a network: engine by engine, batch by batch, interleaved."""

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from mlcnn.engines.arrays import Arrays, fix_shapes, random_inputs
from mlcnn.engines.engine import (
    Device,
    LayerAlgorithm,
    Telling,
    device_of,
    positive_threads,
)
from mlcnn.engines.precision import precision_of
from mlcnn.engines.processor import named
from mlcnn.engines.registry import available, get
from mlcnn.engines.timing import Clock, Ratio, Timing, interleave, noise, ratio
from mlcnn.errors import InputError, MlcnnError, UnsupportedError
from mlcnn.table import Shown, Tabular

__all__ = ["Bench", "BenchResult", "BenchSkipped", "bench"]

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BenchResult:
    """Latency of one variant of a network in one setting.

    Attributes:
        engine: name of the engine.
        variant: name of the variant, e.g. ``original``, the stages that made it, ``result``.
        batch: images per run.
        threads: threads that the engine computed with.
        timing: time of one run; rounds are shared with the setting's other variants.
        algorithms: how the engine computes each layer, if it tells.
        precision: of the numbers that the engine computes in; see ``precision_of``.
    """

    engine: str
    variant: str
    batch: int
    threads: int
    timing: Timing
    algorithms: tuple[LayerAlgorithm, ...] = ()
    precision: str = "fp32"

    @property
    def median_ms(self) -> float:
        """Median time of one run."""
        return self.timing.median_ms

    @property
    def q1_ms(self) -> float:
        """First quartile."""
        return self.timing.q1_ms

    @property
    def q3_ms(self) -> float:
        """Third quartile."""
        return self.timing.q3_ms

    def to_json(self) -> dict[str, object]:
        """The row that ``mlcnn bench --json`` prints."""
        row: dict[str, object] = {
            "engine": self.engine,
            "variant": self.variant,
            "batch": self.batch,
            "threads": self.threads,
            "precision": self.precision,
            "median_ms": self.median_ms,
            "q1_ms": self.q1_ms,
            "q3_ms": self.q3_ms,
            "rounds": len(self.timing.samples_ms),
        }
        if self.algorithms:
            row["algorithms"] = [layer.to_json() for layer in self.algorithms]
        return row


@dataclass(frozen=True, slots=True)
class BenchSkipped:
    """A setting that could not be measured, and why."""

    engine: str
    variant: str
    batch: int
    reason: str

    def to_json(self) -> dict[str, object]:
        """The row that ``mlcnn bench --json`` prints."""
        return {
            "engine": self.engine,
            "variant": self.variant,
            "batch": self.batch,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True, repr=False)
class Bench(Tabular):
    """What was measured, what could not be, and whether the machine was quiet.

    Attributes:
        results: one row per engine, batch and variant.
        skipped: the settings without a row.
        warnings: settings that are too noisy to tell, and what engines tell of themselves.
        depends: whether what runs depends on the image: then the worst case and the best one are
            variants.
    """

    results: tuple[BenchResult, ...]
    skipped: tuple[BenchSkipped, ...] = ()
    warnings: tuple[str, ...] = ()
    depends: bool = False

    def row(self, engine: str, variant: str, batch: int) -> BenchResult | None:
        """The row of a setting, if it was measured."""
        key = (engine, variant, batch)
        return next((r for r in self.results if (r.engine, r.variant, r.batch) == key), None)

    def speedup(self, engine: str, variant: str, against: str, batch: int) -> Ratio | None:
        """How many times faster ``variant`` is than ``against``, if both were measured."""
        new, old = self.row(engine, variant, batch), self.row(engine, against, batch)
        return None if new is None or old is None else ratio(old.timing, new.timing)

    def records(self) -> list[dict[str, Any]]:
        """A row for each engine, batch and variant, as ``to_json`` has it."""
        return [row.to_json() for row in self.results]

    def gain(self, row: BenchResult) -> Ratio | None:
        """How many times faster a row is than the first variant of its setting; None for that."""
        first = next(r for r in self.results if (r.engine, r.batch) == (row.engine, row.batch))
        return None if first is row else ratio(first.timing, row.timing)

    def shown(self) -> Shown:
        """Median times, and how much faster each is than the first variant."""
        rows = tuple(
            (
                row.engine,
                row.precision,
                str(row.batch),
                row.variant,
                f"{row.median_ms:.4g}",
                f"{row.q1_ms:.4g} to {row.q3_ms:.4g}",
                "" if (found := self.gain(row)) is None else f"{found.value:.2f}x",
            )
            for row in self.results
        )
        first = self.results[0].variant if self.results else "the first"
        columns = (
            *("engine", "precision", "batch", "variant", "median, ms", "quartiles, ms"),
            f"over {first}",
        )
        notes = tuple(
            f"skipped: {row.engine}, {row.variant}, batch {row.batch}: {row.reason}"
            for row in self.skipped
        )
        return Shown("Latency", columns, rows, (*notes, *self.warnings, *self.told))

    @property
    def told(self) -> tuple[str, ...]:
        """What is to be known of networks whose time depends on the image; else nothing."""
        if not self.depends:
            return ()
        return (
            (
                "what runs depends on the image: timed is the worst case, where everything runs, "
                "and the best one, where a threshold gives it; --data times real images"
            ),
        )

    def to_json(self) -> dict[str, object]:
        """What ``mlcnn bench --json`` prints."""
        return {
            "results": [row.to_json() for row in self.results],
            "skipped": [row.to_json() for row in self.skipped],
            "warnings": list(self.warnings),
            "depends": self.depends,
            "processor": named(),
        }


@dataclass(frozen=True, slots=True)
class _Setting:
    engine: str
    batch: int
    threads: int
    device: Device
    precision: str | None


@dataclass(frozen=True, slots=True)
class _Ready:
    """A variant, ready to run."""

    run: Callable[[], object]
    algorithms: tuple[LayerAlgorithm, ...]
    precision: str
    notes: tuple[str, ...]


def _runners(
    setting: _Setting, models: Mapping[str, ir.Model], inputs: Arrays
) -> tuple[dict[str, _Ready], list[BenchSkipped]]:
    """The variants that the engine runs; a reason for the others."""
    runners: dict[str, _Ready] = {}
    skipped: list[BenchSkipped] = []
    shapes = {name: array.shape for name, array in inputs.items()}
    for variant, model in models.items():
        try:
            session = get(setting.engine, setting.precision).prepare(
                fix_shapes(model, shapes), threads=setting.threads, device=setting.device
            )
            run = session.runner(inputs)
            precision = precision_of(setting.engine, model, setting.precision)
            told = (session.algorithms, session.notes) if isinstance(session, Telling) else ((), ())
            runners[variant] = _Ready(run, told[0], precision, told[1])
            _LOGGER.info("engine %s, batch %d: %s is ready", setting.engine, setting.batch, variant)
        except MlcnnError as error:
            skipped.append(BenchSkipped(setting.engine, variant, setting.batch, str(error)))
    return runners, skipped


def _measure(
    setting: _Setting,
    models: Mapping[str, ir.Model],
    inputs: Arrays,
    budget_s: float,
    clock: Clock,
) -> Bench:
    runners, skipped = _runners(setting, models, inputs)
    if not runners:
        return Bench((), tuple(skipped))
    calls = {variant: ready.run for variant, ready in runners.items()}
    timings = interleave(calls, budget_s=budget_s, clock=clock)
    rows = tuple(
        BenchResult(
            setting.engine,
            variant,
            setting.batch,
            setting.threads,
            timing,
            runners[variant].algorithms,
            runners[variant].precision,
        )
        for variant, timing in timings.items()
    )
    problem = noise(timings)
    where = f"{setting.engine}, batch {setting.batch}"
    noisy = () if problem is None else (f"{where}: {problem}",)
    told = dict.fromkeys(note for ready in runners.values() for note in ready.notes)
    return Bench(rows, tuple(skipped), (*told, *noisy))


def _check_name(engine: str) -> None:
    """Refuse a name that no engine has; one that is not installed is skipped instead."""
    with contextlib.suppress(UnsupportedError):
        get(engine)


def _all_skipped(
    setting: _Setting, models: Mapping[str, ir.Model], reason: str
) -> tuple[BenchSkipped, ...]:
    return tuple(BenchSkipped(setting.engine, variant, setting.batch, reason) for variant in models)


def _inputs(
    models: Mapping[str, ir.Model],
    batches: Sequence[int],
    shapes: Mapping[str, Sequence[int]] | None,
    seed: int,
) -> tuple[dict[int, Arrays], dict[int, str]]:
    """Inputs by batch, and why there are none for the others.

    Raises:
        InputError: there are none at all.
    """
    first = next(iter(models.values()))
    inputs: dict[int, Arrays] = {}
    refused: dict[int, str] = {}
    for batch in batches:
        try:
            inputs[batch] = random_inputs(first, batch, shapes=shapes, seed=seed)
        except InputError as error:
            refused[batch] = str(error)
    if not inputs:
        raise InputError(next(iter(refused.values()), "there is no batch size to measure"))
    return inputs, refused


def bench(
    models: Mapping[str, ir.Model],
    *,
    engines: Sequence[str] | None = None,
    batches: Sequence[int] = (1,),
    threads: int = 1,
    device: str = Device.CPU,
    precision: str | None = None,
    budget_s: float = 2.0,
    shapes: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
    clock: Clock = time.perf_counter_ns,
    progress: Callable[[str, int], None] | None = None,
) -> Bench:
    """Measure variants of one network against each other.

    The variants of one engine and batch run in turn on the same random inputs, with sizes fixed.

    Args:
        models: the variants by name, all with the same inputs; never changed.
        engines: names of engines; by default all whose packages are installed.
        batches: images per run.
        threads: threads that an engine may compute with.
        device: ``cpu``, or ``cuda`` where there is one.
        precision: of quantised networks, ``fp32`` or ``int8``, in the engines that compute either.
        budget_s: seconds of measuring per engine and batch.
        shapes: shapes by name of the input, where height, width or more are dynamic.
        seed: of the inputs.
        clock: nanoseconds; ``time.process_time_ns`` on a machine that is not quiet, for one
            thread on the CPU.
        progress: told the engine and batch before they are measured.

    Returns:
        The rows. What an engine refuses is in ``skipped`` with the reason and ends nothing.

    Raises:
        InputError: no variants, an unknown engine, device, batch or shape.
    """
    if not models:
        raise InputError("there is no network to measure")
    wanted = device_of(device)
    positive_threads(threads)
    chosen = available() if engines is None else tuple(dict.fromkeys(engines))
    for engine in chosen:
        _check_name(engine)
    inputs, refused = _inputs(models, batches, shapes, seed)
    parts: list[Bench] = []
    for engine in chosen:
        for batch in dict.fromkeys(batches):
            setting = _Setting(engine, batch, threads, wanted, precision)
            if batch in refused:
                parts.append(Bench((), _all_skipped(setting, models, refused[batch])))
                continue
            if progress is not None:
                progress(engine, batch)
            parts.append(_measure(setting, models, inputs[batch], budget_s, clock))
    return Bench(
        tuple(row for part in parts for row in part.results),
        tuple(row for part in parts for row in part.skipped),
        tuple(dict.fromkeys(line for part in parts for line in part.warnings)),
    )
