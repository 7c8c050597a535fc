"""Measure a network before and after, on every engine with the forms that are best there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike

import onnx_ir as ir

from mlcnn import engines
from mlcnn.api.loading import Source, load
from mlcnn.api.memory import require_memory_for_run
from mlcnn.api.optimizing import Optimized, Progress, default_passes, rewrite, silent
from mlcnn.api.options import RewriteOptions
from mlcnn.engines import Bench, MeasuredChooser
from mlcnn.errors import InputError, UnsupportedError
from mlcnn.report import Variant

__all__ = [
    "MeasureOptions",
    "Setting",
    "bench",
    "chooser_for",
    "fixed_batch",
    "joined",
    "measure",
    "settings",
]


@dataclass(frozen=True, slots=True)
class MeasureOptions:
    """On what to measure.

    Attributes:
        engines: names of engines; by default all that are installed but ``torch-compile``, which
            takes minutes on a large network.
        provider: execution provider of ONNX Runtime.
        threads: threads of one run.
        batches: images of one run; by default 1, or the batch that the network is fixed to.
        device: ``cpu`` or ``cuda``.
        seed: of the random inputs.
        budget_s: seconds of measuring per engine and batch.
        chosen: whether ``auto`` chooses forms by measured time, not by an estimate.
    """

    engines: tuple[str, ...] = ()
    provider: str | None = None
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


_NO_REWRITE, _NO_MEASURE = RewriteOptions(), MeasureOptions()


def _engines(options: MeasureOptions) -> tuple[str, ...]:
    chosen = options.engines or tuple(n for n in engines.available() if n != "torch-compile")
    if options.provider is None:
        return chosen
    if "onnxruntime" not in chosen:
        raise InputError(
            f"--provider {options.provider}: it belongs to the engine onnxruntime, which is not "
            f"among {', '.join(chosen)}"
        )
    named = f"onnxruntime:{options.provider}"
    return tuple(named if name == "onnxruntime" else name for name in chosen)


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
        InputError: an engine, provider, device, batch or shape that does not exist, or a network
            that needs more memory than there is.
        UnsupportedError: an engine that is not installed.
    """
    batches = _batches(model, options)
    for batch in batches:
        engines.fixed_shapes(model, batch)
        require_memory_for_run(model, batch)
    names = _engines(options)
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
        InputError: an engine or provider that does not exist.
        UnsupportedError: an engine that is not installed.
    """
    if not options.chosen:
        return None
    chosen = setting or Setting(_engines(options)[0], _batches(model, options)[0])
    engines.get(chosen.engine)
    return MeasuredChooser(
        chosen.engine,
        chosen.batch,
        options.threads,
        options.device,
        network_bytes=engines.weight_bytes(model),
    )


def _variants(optimized: Optimized) -> Iterator[tuple[str, ir.Model]]:
    yield Variant.ORIGINAL.value, optimized.original
    if optimized.reordered is not None:
        yield Variant.REORDERED.value, optimized.reordered
    if optimized.changes:
        yield Variant.FUSED.value, optimized.model


def measure(optimized: Optimized, setting: Setting, options: MeasureOptions) -> Bench:
    """Measure the variants of one rewrite on one setting, interleaved."""
    return engines.bench(
        dict(_variants(optimized)),
        engines=[setting.engine],
        batches=[setting.batch],
        threads=options.threads,
        device=options.device,
        budget_s=options.budget_s,
        seed=options.seed,
    )


def bench(
    source: Source,
    rewriting: RewriteOptions = _NO_REWRITE,
    measuring: MeasureOptions = _NO_MEASURE,
    *,
    input_shape: Sequence[int] | None = None,
    weights: "str | PathLike[str] | None" = None,
    progress: Progress | None = None,
) -> Bench:
    """Latency of the original, reordered and fused network.

    Args:
        source: see ``load``.
        rewriting: the rewrite. ``auto`` chooses anew for each engine and batch size.
        measuring: on what to measure.
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
    tell = progress or silent
    model = load(source, input_shape=input_shape, weights=weights)
    chosen = settings(model, measuring)
    parts: list[Bench] = []
    for done, setting in enumerate(chosen):
        tell("measure", done, len(chosen))
        optimized = rewrite(
            model,
            default_passes(source),
            rewriting,
            check=False,
            chooser=chooser_for(model, measuring, setting),
        )
        parts.append(measure(optimized, setting, measuring))
    result = joined(parts)
    if not result.results:
        reasons = dict.fromkeys(f"{row.engine}: {row.reason}" for row in result.skipped)
        raise UnsupportedError(
            f"nothing could be measured ({'; '.join(reasons)}): name another engine"
        )
    return result


def joined(parts: Sequence[Bench]) -> Bench:
    """Several measurements as one."""
    return Bench(
        results=tuple(row for part in parts for row in part.results),
        skipped=tuple(row for part in parts for row in part.skipped),
        warnings=tuple(line for part in parts for line in part.warnings),
    )
