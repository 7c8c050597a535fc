"""Measure a network before and after, on every engine with the forms that are best there."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import onnx_ir as ir

from mlcnn import engines
from mlcnn.api.loading import Source, load
from mlcnn.api.memory import require_memory_for_run
from mlcnn.api.optimized import Optimized
from mlcnn.api.optimizing import Progress, default_passes, require_no_rewrite, rewrite, silent
from mlcnn.api.options import NO_REWRITE, RewriteOptions
from mlcnn.api.two_networks import as_they_are, named, with_inputs_of
from mlcnn.engines import Bench, MeasuredChooser
from mlcnn.errors import InputError, UnsupportedError
from mlcnn.passes.extremes import extremes

__all__ = [
    "MeasureOptions",
    "Setting",
    "Subjects",
    "bench",
    "chooser_for",
    "fixed_batch",
    "measure",
    "settings",
    "subjects_of",
]


@dataclass(frozen=True, slots=True)
class MeasureOptions:
    """On what to measure.

    Attributes:
        engines: names of engines; by default all that are installed but ``torch-compile``, which
            takes minutes on a large network.
        provider: execution provider of ONNX Runtime.
        algorithm: how the engine ``native`` computes convolutions; by default by measured time.
        precision: ``fp32`` or ``int8``; by default what the network says. int8 needs a quantised
            network, of which native computes fp32 too: what its codes stand for, in float32.
        threads: threads of one run.
        batches: images of one run; by default 1, or the batch that the network is fixed to.
        device: ``cpu`` or ``cuda``.
        seed: of the random inputs.
        budget_s: seconds of measuring per engine and batch.
        chosen: whether ``auto`` chooses forms by measured time, not by an estimate.
    """

    engines: tuple[str, ...] = ()
    provider: str | None = None
    algorithm: str | None = None
    precision: str | None = None
    threads: int = 1
    batches: tuple[int, ...] = ()
    device: str = "cpu"
    seed: int = 0
    budget_s: float = 2.0
    chosen: bool = True

    def __post_init__(self) -> None:
        if self.budget_s <= 0:
            raise InputError(f"--seconds {self.budget_s:g}: a positive time is required")


@dataclass(frozen=True, slots=True)
class Setting:
    """One engine at one batch size."""

    engine: str
    batch: int


_NO_MEASURE = MeasureOptions()


def _engines(model: ir.Model, options: MeasureOptions) -> tuple[str, ...]:
    chosen = options.engines or tuple(n for n in engines.available() if n != "torch-compile")
    chosen = engines.with_precision(model, chosen, options.precision, named=bool(options.engines))
    chosen = _with_option(chosen, "onnxruntime", "--provider", options.provider)
    return _with_option(chosen, "native", "--algorithm", options.algorithm)


def _with_option(
    chosen: tuple[str, ...], engine: str, flag: str, option: str | None
) -> tuple[str, ...]:
    """The engines, with the option of one of them behind its name.

    Raises:
        InputError: an option for an engine that is not among them.
    """
    if option is None:
        return chosen
    if engine not in chosen:
        raise InputError(
            f"{flag} {option}: it belongs to the engine {engine}, which is not "
            f"among {', '.join(chosen)}"
        )
    return tuple(f"{name}:{option}" if name == engine else name for name in chosen)


def _batches(model: ir.Model, options: MeasureOptions) -> tuple[int, ...]:
    if options.batches:
        return tuple(dict.fromkeys(options.batches))
    return (fixed_batch(model) or 1,)


def fixed_batch(model: ir.Model) -> int | None:
    """The number of images that a network is fixed to; None if any number will do."""
    shapes = [signature.shape for signature in engines.signatures(model)]
    return next((shape[0] for shape in shapes if shape and isinstance(shape[0], int)), None)


def settings(model: ir.Model, options: MeasureOptions) -> tuple[Setting, ...]:
    """Every engine at every batch size, checked before the work begins.

    Raises:
        InputError: an engine, provider, device, batch or shape that does not exist, a precision
            that the network lacks, or a network that needs more memory than there is.
        UnsupportedError: an engine that is not installed.
    """
    batches = _batches(model, options)
    for batch in batches:
        engines.fixed_shapes(model, batch)
        require_memory_for_run(model, batch)
    names = _engines(model, options)
    for name in names:
        engines.get(name)
    return tuple(Setting(name, batch) for name in names for batch in batches)


def chooser_for(
    model: ir.Model, options: MeasureOptions, setting: Setting | None = None
) -> MeasuredChooser | None:
    """What ``auto`` asks; None for the estimate.

    Args:
        model: the network.
        options: on what to measure.
        setting: engine and batch size; the first of the options' by default.

    Raises:
        InputError: an engine, provider or precision that does not exist, or not for this network.
        UnsupportedError: an engine that is not installed.
    """
    if not options.chosen:
        return None
    chosen = setting or Setting(_engines(model, options)[0], _batches(model, options)[0])
    engines.get(chosen.engine)
    engine, _, option = chosen.engine.partition(":")
    repeated = engine == "native" and Path(option).suffix == ".json"  # no choice for single sites
    return MeasuredChooser(
        engine if repeated else chosen.engine,
        chosen.batch,
        options.threads,
        options.device,
        network_bytes=engines.weight_bytes(model),
        precision=options.precision,
    )


def bench(
    source: Source,
    rewriting: RewriteOptions = NO_REWRITE,
    measuring: MeasureOptions = _NO_MEASURE,
    *,
    against: Source | None = None,
    input_shape: Sequence[int] | None = None,
    weights: "str | PathLike[str] | None" = None,
    progress: Progress | None = None,
) -> Bench:
    """Latency of the original network, of what approximate stages made of it, and of the result.

    Args:
        source: see ``load``. What ``optimize`` returned is measured in the forms that it has.
        rewriting: the rewrite. ``auto`` chooses anew for each engine and batch size.
        measuring: on what to measure.
        against: another network that is timed beside ``source``, both as they are, without a
            rewrite; they are called by their names.
        input_shape: see ``load``; needed where height or width are dynamic.
        weights: see ``load``.
        progress: told how the work goes on.

    Returns:
        Medians and quartiles for each engine, batch size and variant; what could not be measured,
        with the reason; and a warning where the machine is too noisy to tell.

    Raises:
        InputError: the source or an option cannot be used.
        UnsupportedError: no engine can run the network.
    """
    subjects = subjects_of(
        source, rewriting, measuring, against=against, input_shape=input_shape, weights=weights
    )
    return _measured(subjects, measuring, progress or silent)


@dataclass(frozen=True, slots=True, eq=False)
class Subjects:
    """What is measured.

    Attributes:
        chosen: every engine at every batch size.
        variants: the networks of such a setting by name, the first of which others are compared
            with.
    """

    chosen: tuple[Setting, ...]
    variants: Callable[[Setting], Mapping[str, ir.Model]]


def subjects_of(
    source: Source,
    rewriting: RewriteOptions,
    measuring: MeasureOptions,
    *,
    against: Source | None = None,
    input_shape: Sequence[int] | None = None,
    weights: "str | PathLike[str] | None" = None,
) -> Subjects:
    """What is measured of a network; see ``bench``."""
    if against is not None:
        models = as_they_are(source, against, rewriting, input_shape=input_shape, weights=weights)
        chosen, pair = _pair(models, named(source, against), measuring)
        return Subjects(chosen, lambda _: pair)
    if isinstance(source, Optimized):
        require_no_rewrite(rewriting, input_shape=input_shape, weights=weights)
        return Subjects(settings(source.original, measuring), lambda _: source.variants)
    model, passes = load(source, input_shape=input_shape, weights=weights), default_passes(source)

    def variants(setting: Setting) -> Mapping[str, ir.Model]:
        chooser = chooser_for(model, measuring, setting)
        return rewrite(model, passes, rewriting, check=False, chooser=chooser).variants

    return Subjects(settings(model, measuring), variants)


def _cases(variants: Mapping[str, ir.Model]) -> dict[str, ir.Model]:
    """Networks whose cost depends on the image in their worst case and in their best one."""
    found: dict[str, ir.Model] = {}
    for name, model in variants.items():
        cases = extremes(model)
        found |= {f"{name}, {case}": made for case, made in cases.items()} or {name: model}
    return found


def _pair(
    models: tuple[ir.Model, ir.Model], names: tuple[str, str], options: MeasureOptions
) -> tuple[tuple[Setting, ...], dict[str, ir.Model]]:
    """Settings that suit both networks, and the two by name: the other one first."""
    after, before = models
    fed = with_inputs_of(after, before)
    chosen, others = settings(fed, options), settings(before, options)
    is_fixed = fixed_batch(before) is not None
    return others if is_fixed else chosen, {names[1]: before, names[0]: fed}


def _measured(subjects: Subjects, options: MeasureOptions, tell: Progress) -> Bench:
    dynamic: set[str] = set()

    def variants(setting: Setting) -> Mapping[str, ir.Model]:
        found = subjects.variants(setting)
        cases = _cases(found)
        dynamic.update(found.keys() - cases.keys())
        return cases

    result = measure(subjects.chosen, variants, options, tell)
    if not result.results:
        reasons = dict.fromkeys(
            f"{row.engine}: {row.reason.removeprefix(f'{row.engine}: ')}" for row in result.skipped
        )
        raise UnsupportedError(
            f"nothing could be measured ({'; '.join(reasons)}): name another engine"
        )
    return replace(result, depends=bool(dynamic))


def _require_asked(setting: Setting, found: Bench, options: MeasureOptions) -> None:
    """Refuse an algorithm that was asked for and computes no variant of the network."""
    is_asked = options.algorithm is not None and setting.engine.startswith("native:")
    if is_asked and found.skipped and not found.results:
        raise UnsupportedError(found.skipped[0].reason)


def measure(
    chosen: Sequence[Setting],
    variants: Callable[[Setting], Mapping[str, ir.Model]],
    options: MeasureOptions,
    tell: Progress,
) -> Bench:
    """The networks of each setting, interleaved; what no engine could run is among the skipped.

    Raises:
        UnsupportedError: the algorithm that was asked for computes none of them.
    """
    parts: list[Bench] = []
    for done, setting in enumerate(chosen):
        tell("measure", done, len(chosen))
        found = engines.bench(
            variants(setting),
            engines=[setting.engine],
            batches=[setting.batch],
            threads=options.threads,
            device=options.device,
            precision=options.precision,
            budget_s=options.budget_s,
            seed=options.seed,
        )
        _require_asked(setting, found, options)
        parts.append(found)
    return Bench(
        results=tuple(row for part in parts for row in part.results),
        skipped=tuple(row for part in parts for row in part.skipped),
        warnings=tuple(dict.fromkeys(line for part in parts for line in part.warnings)),
    )
