"""Latency per engine, with its spread."""

from dataclasses import dataclass

from mlcnn.engines import LayerAlgorithm
from mlcnn.report.charts import latency_charts
from mlcnn.report.sections.section import Section
from mlcnn.report.speed import (
    Verdict,
    measured_variants,
    result_variant,
    settings,
    speedups,
)
from mlcnn.report.summary import ORIGINAL, Latency, RunSummary
from mlcnn.report.wording import duration, printable, ratio

__all__ = ["latency"]


@dataclass(frozen=True, slots=True)
class Gain:
    """A speed-up in words."""

    value: str
    span: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Cell:
    """One measured latency, in words."""

    median: str
    quartiles: str


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured in one engine at one batch size, in words.

    Attributes:
        engine: its name.
        precision: of the numbers that it computes in.
        batch: images per run.
        threads: threads.
        cells: one per variant, in the columns' order; None where it was not measured.
        gain: of the result over the original.
        exact_gain: of the result over the network before the exact passes at the end, which
            compute the same.
    """

    engine: str
    precision: str
    batch: str
    threads: str
    cells: tuple[Cell | None, ...]
    gain: Gain | None
    exact_gain: Gain | None


@dataclass(frozen=True, slots=True)
class Layer:
    """How an engine computes a layer, in words."""

    name: str
    geometry: str
    algorithm: str
    reason: str
    time: str
    share: str
    bound: str


@dataclass(frozen=True, slots=True)
class Algorithms:
    """How an engine computes the layers of a variant.

    Attributes:
        title: engine, variant and batch.
        layers: its layers.
    """

    title: str
    layers: tuple[Layer, ...]


@dataclass(frozen=True, slots=True)
class Content:
    """What the section shows.

    Attributes:
        variants: the columns of the table.
        has_gain: whether any row has a speed-up.
        exact_over: the variant that the exact passes started from, if any row has a speed-up that
            they made; else empty.
        range: what the range of a speed-up means.
        rows: the rows of the table.
        machine: where they were measured.
        noise: what makes them less certain.
        unavailable: (engine, reason) of the engines that could not run.
        algorithms: layer by layer, of the engines that tell.
    """

    variants: tuple[str, ...]
    has_gain: bool
    exact_over: str
    range: str
    rows: tuple[Row, ...]
    machine: str
    noise: tuple[str, ...]
    unavailable: tuple[tuple[str, str], ...]
    algorithms: tuple[Algorithms, ...]


_PAIRED = "its 95 % interval from neighbouring runs"
_BY_QUARTILES = "the range that the quartiles allow"
_Key = tuple[str, int, int]


def _gains(summary: RunSummary, variant: str, against: str) -> dict[_Key, Gain]:
    return {
        (g.engine, g.batch, g.threads): Gain(
            ratio(g.value), f"{ratio(g.low)} to {ratio(g.high)}", g.verdict
        )
        for g in speedups(summary, variant=variant, against=against)
    }


def _cell(measured: Latency | None) -> Cell | None:
    if measured is None:
        return None
    quartiles = f"{duration(measured.q1_ms)} to {duration(measured.q3_ms)}"
    return Cell(duration(measured.median_ms), quartiles)


def _rows(summary: RunSummary, variants: tuple[str, ...]) -> tuple[Row, ...]:
    gains = _gains(summary, result_variant(summary), ORIGINAL)
    exact = _gains(summary, variants[-1], variants[-2]) if len(variants) > 2 else {}
    rows: list[Row] = []
    for setting in settings(summary):
        measured = {(row.engine, row.variant): row for row in setting.rows}
        for engine in dict.fromkeys(row.engine for row in setting.rows):
            key = (engine, setting.batch, setting.threads)
            rows.append(
                Row(
                    printable(engine),
                    next(r.precision for r in setting.rows if r.engine == engine),
                    str(setting.batch),
                    str(setting.threads),
                    tuple(_cell(measured.get((engine, variant))) for variant in variants),
                    gains.get(key),
                    exact.get(key),
                )
            )
    return tuple(rows)


def _algorithms(summary: RunSummary) -> tuple[Algorithms, ...]:
    result = result_variant(summary)
    return tuple(
        Algorithms(
            printable(f"{row.engine}, {row.variant}, batch {row.batch}"),
            tuple(_layer(layer) for layer in row.algorithms),
        )
        for row in summary.latencies
        if row.algorithms and row.variant == result
    )


def _layer(layer: LayerAlgorithm) -> Layer:
    how = "" if layer.measured else " (estimated)"
    return Layer(
        printable(layer.layer),
        printable(layer.geometry),
        layer.algorithm,
        printable("; ".join(filter(None, (layer.reason, layer.told)))),
        f"{duration(layer.ms)}{how}",
        f"{100 * layer.peak_share:.0f} %",
        layer.bound,
    )


def latency(summary: RunSummary) -> Section | None:
    """The section; None where nothing was measured and no engine failed."""
    if not summary.latencies and not summary.unavailable:
        return None
    variants = measured_variants(summary)
    rows = _rows(summary, variants)
    gains = speedups(summary, variant=result_variant(summary))
    content = Content(
        variants,
        any(row.gain for row in rows),
        variants[-2] if any(row.exact_gain for row in rows) else "",
        _PAIRED if all(g.paired for g in gains) else _BY_QUARTILES,
        rows,
        printable(summary.machine),
        tuple(map(printable, summary.noise)),
        tuple((printable(gone.engine), printable(gone.reason)) for gone in summary.unavailable),
        _algorithms(summary),
    )
    return Section("latency", "Latency", "latency.html", content, latency_charts(summary))
