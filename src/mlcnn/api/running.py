"""The main job: rewrite, verify, count, measure, and write the report and the network."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import onnx_ir as ir

from mlcnn import report
from mlcnn.api.accuracy import ImageOptions, accuracies, labelled_images
from mlcnn.api.benchmarking import (
    MeasureOptions,
    Setting,
    chooser_for,
    measure,
    settings,
)
from mlcnn.api.evaluation import EvaluateOptions, Machines, evaluate_all, for_machines
from mlcnn.api.loading import Source, load, model_name, zoo_entry
from mlcnn.api.optimized import Optimized
from mlcnn.api.optimizing import (
    Progress,
    default_passes,
    potential,
    require_no_rewrite,
    rewrite,
    silent,
    tuned_weights,
)
from mlcnn.api.options import NO_REWRITE, RewriteOptions
from mlcnn.api.per_image import PerImage, RealImages
from mlcnn.api.summarising import Origin, nothing_to_gain, summarise
from mlcnn.api.writing import results_folder
from mlcnn.engines import Bench
from mlcnn.errors import InfeasibleError
from mlcnn.report import Latency, Page, RunSummary, Unavailable
from mlcnn.table import Shown, Tabular
from mlcnn.workload import read
from mlcnn.zoo import TestedPair

__all__ = ["RunResult", "run"]

_NO_MEASURE = MeasureOptions()
_USUAL_MACHINES = EvaluateOptions()
_TUNED = (
    "the rewritten network has weights that were trained in its new order, which the package "
    "carries; so its outputs are not the original's"
)


@dataclass(frozen=True, slots=True, repr=False)
class RunResult(Tabular):
    """What the main job found out and wrote.

    Attributes:
        summary: everything that the report shows.
        optimized: the rewritten network.
        bench: the measurements; None if nothing was measured.
        report: the HTML page.
        output: the rewritten network's file.
        seconds: that the job took.
        per_image: what the images given take in a network that leaves work out; None elsewhere.
    """

    summary: RunSummary
    optimized: Optimized
    bench: Bench | None
    report: Path
    output: Path
    seconds: float
    per_image: PerImage | None = None

    @property
    def page(self) -> Page:
        """The page that was written; it opens in a notebook's cell."""
        return Page(report.render(self.summary))

    def shown(self) -> Shown:
        """What was found out, a row a subject."""
        facts = report.facts(self.summary)
        rows = tuple((fact.title, fact.value, fact.note) for fact in facts)
        title = f"{self.summary.model_name}: {report.sentence(self.summary)}"
        notes = (f"report: {self.report}", f"network: {self.output}", *self.summary.warnings)
        return Shown(title, ("what", "result", ""), rows, notes)

    def records(self) -> list[dict[str, Any]]:
        """The rows of every measurement, see ``Bench.records``; nothing where nothing was."""
        return [] if self.bench is None else self.bench.records()

    def to_json(self) -> dict[str, object]:
        """What ``mlcnn run --json`` prints."""
        summary = self.summary
        rows = summary.accuracy
        return {
            "name": summary.model_name,
            "report": str(self.report),
            "output": str(self.output),
            "optimize": {"output": str(self.output), **self.optimized.to_json()},
            "count": summary.counts.to_json(),
            "evaluate": [evaluation.to_json() for evaluation in summary.evaluations],
            "bench": None if self.bench is None else self.bench.to_json(),
            "accuracy": None if rows is None else [asdict(row) for row in rows],
            "test_set": None if summary.tested is None else report.recorded_json(summary.tested),
            "potential": None if summary.potential is None else asdict(summary.potential),
            "warnings": list(summary.warnings),
            "per_image": None if self.per_image is None else self.per_image.to_json(),
            "seconds": self.seconds,
        }


@dataclass(frozen=True, slots=True)
class _Job:
    """What is asked of a run: of a network that is to be rewritten, or of one that was."""

    source: Source
    passes: str
    rewriting: RewriteOptions
    measuring: MeasureOptions | None
    tell: Progress

    def load(
        self, input_shape: Sequence[int] | None, weights: "str | PathLike[str] | None"
    ) -> ir.Model:
        """The network before."""
        if not isinstance(self.source, Optimized):
            return load(self.source, input_shape=input_shape, weights=weights)
        require_no_rewrite(self.rewriting, input_shape=input_shape, weights=weights)
        return self.source.original

    def rewrite(
        self, original: ir.Model, tuned: Path | None, input_shape: Sequence[int] | None
    ) -> Optimized:
        """The network after."""
        if isinstance(self.source, Optimized):
            return self.source
        model = original
        if tuned is not None:
            model = load(self.source, input_shape=input_shape, weights=tuned)
        chooser = None if self.measuring is None else chooser_for(original, self.measuring)
        return rewrite(model, self.passes, self.rewriting, chooser=chooser, progress=self.tell)

    def for_machines(self, original: ir.Model, optimized: Optimized) -> ir.Model:
        """The network as accelerators run it: with the same layers changed."""
        if isinstance(self.source, Optimized):
            return self.source.model
        return for_machines(original, optimized.settled)

    def bench(
        self, optimized: Optimized, chosen: Sequence[Setting], options: MeasureOptions
    ) -> tuple[Bench, tuple[str, ...]]:
        """Measure each setting with the forms that are best there; notes where they differ."""
        notes: list[str] = []

        def variants(setting: Setting) -> Mapping[str, ir.Model]:
            best = optimized
            if setting is not chosen[0]:
                best = self._rewritten(optimized, setting, options)
            if best.pipeline != optimized.pipeline:
                notes.append(
                    f"{setting.engine} at batch {setting.batch} is measured with its own choice of "
                    f"forms, {_forms(best)}; the saved network has those for "
                    f"{chosen[0].engine} at batch {chosen[0].batch}, {_forms(optimized)}"
                )
            return best.variants

        return measure(chosen, variants, options, self.tell), tuple(notes)

    def _rewritten(
        self, optimized: Optimized, setting: Setting, options: MeasureOptions
    ) -> Optimized:
        before = optimized.original
        chooser = chooser_for(before, options, setting)
        if chooser is None:
            return optimized
        return rewrite(before, optimized.settled, check=False, chooser=chooser)


def _forms(optimized: Optimized) -> str:
    return ", ".join(f"{c.nodes[0]}={c.form}" for c in optimized.fused) or "no site fused"


def _with_measurements(summary: RunSummary, measured: Bench) -> RunSummary:
    latencies = tuple(
        Latency(
            engine=row.engine,
            variant=row.variant,
            batch=row.batch,
            threads=row.threads,
            median_ms=row.median_ms,
            q1_ms=row.q1_ms,
            q3_ms=row.q3_ms,
            samples_ms=row.timing.samples_ms,
            algorithms=row.algorithms,
            precision=row.precision,
        )
        for row in measured.results
    )
    unavailable = tuple(
        Unavailable(f"{row.engine}, {row.variant}, batch {row.batch}", row.reason)
        for row in measured.skipped
    )
    return replace(summary, latencies=latencies, unavailable=unavailable, noise=measured.warnings)


def run(
    source: Source,
    rewriting: RewriteOptions = NO_REWRITE,
    measuring: MeasureOptions | None = _NO_MEASURE,
    evaluating: EvaluateOptions | None = _USUAL_MACHINES,
    *,
    directory: "str | PathLike[str] | None" = None,
    input_shape: Sequence[int] | None = None,
    weights: "str | PathLike[str] | None" = None,
    data: "str | PathLike[str] | None" = None,
    images: ImageOptions | None = None,
    functions: bool = False,
    command: str = "",
    progress: Progress | None = None,
    notice: Callable[[str], None] | None = None,
) -> RunResult:
    """The main job: rewrite, verify, count, evaluate, measure; write the report and the network.

    Args:
        source: see ``load``. What ``optimize`` returned is taken as it was rewritten.
        rewriting: the rewrite. ``auto`` chooses by time on the first engine and batch size.
        measuring: on what to measure; None to measure nothing.
        evaluating: on which accelerators to evaluate; None for none. One that cannot run the
            network brings a warning.
        directory: where ``report.html`` and the network go; ``runs/<name>`` by default.
        input_shape: see ``load``.
        weights: see ``load``.
        data: labelled images for the accuracy; see ``training.open_data``. Test images count, or
            all where there is no such part.
        images: how the images go to the network.
        functions: keep fused operators as functions in the saved network.
        command: what the report names as the command that repeats the run.
        progress: told how the work goes on.
        notice: told early what the user should know.

    Raises:
        InputError: the source, an option or the data cannot be used.
    """
    start, tell = time.perf_counter(), progress or silent
    name = model_name(source)
    path = Path("runs", name) if directory is None else Path(directory)
    with results_folder(path) as folder:
        passes = default_passes(source) if rewriting.passes is None else rewriting.passes
        machines = None if evaluating is None else evaluating.load()
        tell("load", 0, 0)
        if isinstance(source, Optimized):
            measuring = measuring and replace(measuring, chosen=False)
        job = _Job(source, passes, rewriting, measuring, tell)
        original = job.load(input_shape, weights)
        given = None if data is None else Path(data)
        labelled = labelled_images(source, given, original, images or ImageOptions())
        told = () if labelled is None else labelled.told
        chosen = settings(original, measuring) if measuring is not None else ()
        tuned = tuned_weights(source, rewriting) if weights is None else None
        optimized = job.rewrite(original, tuned, input_shape)
        gain = potential(optimized)
        if notice is not None and not optimized.changed:
            notice(nothing_to_gain(gain))
        evaluations, unable = (
            ((), ())
            if machines is None
            else evaluate_all(job.for_machines(original, optimized), machines, tell)
        )
        output, page = folder / f"{name}.onnx", folder / "report.html"
        optimized.save(output, functions=functions)
        options = measuring or _NO_MEASURE
        measured, notes = job.bench(optimized, chosen, options) if chosen else (None, ())
        variants = optimized.variants | {report.ORIGINAL: original}
        summary = summarise(
            optimized,
            Origin(name, _described(source), command, options.seed),
            accuracy=None
            if labelled is None
            else accuracies(variants, labelled, threads=options.threads, progress=tell),
            potential=gain,
            drawn=True,
        )
        if tuned is not None and data is None:
            summary = replace(summary, tested=_tested(source))
        each = (
            None
            if data is None or labelled is None
            else _per_image(
                job, (original, optimized), RealImages(name, optimized.model, labelled), machines
            )
        )
        told += () if each is None else each.told()
        told += (*unable, *(() if tuned is None else (_TUNED,)), *notes)
        summary = replace(
            summary,
            evaluations=evaluations,
            warnings=summary.warnings + told,
            output=output.name,
        )
        if measured is not None:
            summary = _with_measurements(summary, measured)
        tell("report", 0, 0)
        report.write(summary, page)
        seconds = time.perf_counter() - start
        return RunResult(summary, optimized, measured, page, output, seconds, each)


def _per_image(
    job: _Job, networks: tuple[ir.Model, Optimized], real: RealImages, machines: Machines | None
) -> PerImage | None:
    """What images take in a network that leaves work out, counted and on the machines."""
    if not read(real.model, batch=1).is_dynamic:
        return None
    job.tell("find out what runs", 0, 0)
    counted = real.multiplications(real.activity())
    costs = dict(counted.costs)
    if machines is not None:
        there = replace(real, model=job.for_machines(*networks))
        activity, batch = there.activity(), machines.batch_of(there.model)
        for machine in machines.on:
            with suppress(InfeasibleError):  # what it cannot run is told where it is evaluated
                found = there.energy(activity, machine, machines.technology, batch)
                costs[f"energy_pj {machine.name}"] = found.costs["energy_pj"]
    return replace(counted, costs=costs)


def _tested(source: Source) -> TestedPair | None:
    entry = zoo_entry(source)
    return None if entry is None else entry.tested


def _described(source: Source) -> str:
    return str(source) if isinstance(source, str | PathLike) else type(source).__name__
