"""Rewrite a network and verify that the exact rewrites are exact."""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import onnx_ir as ir

from mlcnn import graph
from mlcnn.api.checking import NetworkCheck, check_network
from mlcnn.api.loading import ExampleInput, Source, is_zoo_name, load, zoo_entry
from mlcnn.api.optimized import Optimized
from mlcnn.api.options import NO_REWRITE, RewriteOptions
from mlcnn.errors import InputError, UnsupportedError, did_you_mean
from mlcnn.passes import Chooser, Pass, WindowMode, pipeline
from mlcnn.passes.pipeline import ALL, PipelineResult
from mlcnn.report import Potential

__all__ = [
    "Progress",
    "default_passes",
    "optimize",
    "potential",
    "require_no_rewrite",
    "rewrite",
    "silent",
    "tuned_weights",
]

Progress = Callable[[str, int, int], None]
"""Told the stage of the work, the steps of it that are done, and their number (0: not known)."""

_EXACT, _MLCNN = "exact", "mlcnn"
# A network that differs still without so many sites is left to the passes that are not to blame.
_MOST_CULPRITS = 8


def default_passes(source: Source) -> str:
    """The pipeline for a source, if the user names none.

    A network of the zoo is an architecture, with nothing to lose; a user's own keeps its function.
    """
    return _MLCNN if is_zoo_name(source) else _EXACT


def tuned_weights(source: Source, options: RewriteOptions) -> Path | None:
    """Weights that the package carries for a zoo network after all of the pipeline ``mlcnn``.

    Args:
        source: what is loaded.
        options: the rewrite; with a selection of sites or passes, the weights would not fit it.
    """
    whole = options.passes in {None, _MLCNN} and not options.only and not options.exclude
    entry = zoo_entry(source)
    return entry.reordered_weights if whole and entry is not None else None


def _configured(text: str, options: RewriteOptions, chooser: Chooser | None) -> tuple[Pass, ...]:
    if options.window not in {None, *WindowMode}:
        raise InputError(f"--window {options.window}: {' or '.join(WindowMode)} is required")
    passes = pipeline.parse(text)
    known = {name for item in passes for name in getattr(item, "shared", ())}
    given = {
        "form": options.form,
        "window": None if options.window is None else WindowMode(options.window),
        "all": options.everywhere or None,
    }
    for name, value in given.items():
        if value is not None and name not in known:
            raise InputError(f"--{name}: no pass of the pipeline {text!r} has this option")
    return pipeline.configure(
        passes,
        only=options.only,
        exclude=options.exclude,
        chooser=chooser,
        settings=options.settings,
        **given,
    )


def _check_selection(model: ir.Model, options: RewriteOptions) -> None:
    names = sorted({graph.layer_name(node) for node in model.graph})
    for option, chosen in (("--only", options.only), ("--exclude", options.exclude)):
        for name in chosen:
            if name in names:
                continue
            hint = did_you_mean(name, names)
            raise InputError(
                f"{option} {name}: the network has no node of this name{hint} "
                "(`mlcnn count` lists the layers)"
            )


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def require_no_rewrite(options: RewriteOptions, **others: object) -> None:
    """Refuse what can no longer be asked of a network that was rewritten already.

    Args:
        options: the rewrite.
        others: arguments of loading, by name.

    Raises:
        InputError: something was asked for.
    """
    asked = ["rewriting"] if options != NO_REWRITE else []
    asked += [name for name, value in others.items() if value is not None]
    if asked:
        raise InputError(
            f"{asked[0]}: the network is loaded and rewritten already; give it to mlcnn.optimize"
        )


def silent(stage: str, done: int, total: int) -> None:
    """The progress that nobody sees."""
    del stage, done, total


def rewrite(
    model: ir.Model,
    passes: str,
    options: RewriteOptions = NO_REWRITE,
    *,
    check: bool = True,
    inputs: Sequence[Mapping[str, np.ndarray]] = (),
    chooser: Chooser | None = None,
    progress: Progress | None = None,
) -> Optimized:
    """Apply a pipeline to a loaded network.

    Args:
        model: the network; it is not changed.
        passes: the pipeline, if ``options`` has none.
        options: see ``RewriteOptions``.
        check: check each exact rewrite at its site, in float64, and the whole network in ONNX
            Runtime; what fails is left alone, with the reason.
        inputs: more inputs to compare the whole network on, each an array by input name.
        chooser: what the form ``auto`` asks; an estimate by default.
        progress: told how the work goes on.

    Raises:
        InputError: an option cannot be used.
    """
    _check_selection(model, options)
    wanted = passes if options.passes is None else options.passes
    configured = _configured(wanted, options, chooser)
    result, network = _run(model, configured, check=check, inputs=inputs, tell=progress or silent)
    return Optimized(
        original=model,
        model=result.model,
        stages=_approximated(result),
        pipeline=result.text,
        settled=result.settled,
        changes=result.changes,
        skipped=result.skipped,
        verification=result.verification,
        network=network,
    )


def _approximated(result: PipelineResult) -> dict[str, ir.Model]:
    """The network after the last approximate stage, by the names of all, if exact ones follow."""
    changed = [stage for stage in result.stages if stage.result.changes]
    approximate = [
        index
        for index, stage in enumerate(changed)
        if any(not change.exact for change in stage.result.changes)
    ]
    if not approximate or approximate[-1] == len(changed) - 1:
        return {}
    name = ", ".join(dict.fromkeys(changed[index].applied.name for index in approximate))
    return {name: changed[approximate[-1]].result.model}


def _run(
    model: ir.Model,
    passes: Sequence[Pass],
    *,
    check: bool,
    inputs: Sequence[Mapping[str, np.ndarray]],
    tell: Progress,
) -> tuple[PipelineResult, NetworkCheck | None]:
    """Run a pipeline until the whole network agrees; a site where it does not is left alone."""
    left: dict[tuple[str, str], str] = {}
    while True:
        result = pipeline.run(model, passes, verify=check, left=left, progress=tell)
        if not check:
            return result, None
        tell("compare", 0, 0)
        network = check_network(result, inputs)
        if network.culprit is None:
            return result, network
        change, reason = network.culprit
        node = change.nodes[0] if change.nodes and len(left) < _MOST_CULPRITS else ALL
        left[change.pass_name, ALL if (change.pass_name, node) in left else node] = reason


def optimize(
    source: Source,
    example_input: ExampleInput | None = None,
    *,
    passes: str | None = None,
    form: str | None = None,
    window: str | None = None,
    only: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    everywhere: bool = False,
    check: bool = True,
    chooser: Chooser | None = None,
    input_shape: Sequence[int] | None = None,
    weights: "str | PathLike[str] | None" = None,
    progress: Progress | None = None,
) -> Optimized:
    """Rewrite a network so that it takes fewer multiplications, and verify the result.

    Args:
        source: see ``load``. It is not changed; calls from several threads don't disturb each
            other.
        example_input: what a torch module is called with.
        passes: see ``RewriteOptions``, as the next five.
        form: how fused sites compute.
        window: what an average pool in place of a max pool averages.
        only: layer names; touch only sites with one of them.
        exclude: layer names; leave sites with one of them alone.
        everywhere: replace every max pool, also where nothing is gained.
        check: check each exact rewrite at its site, in float64, and the whole network in ONNX
            Runtime; what fails is left alone, with the reason.
        chooser: what the form ``auto`` asks; an estimate by default.
        input_shape: see ``load``.
        weights: see ``load``.
        progress: told how the work goes on.

    Returns:
        The rewritten network with what was done, what not, and why.

    Raises:
        InputError: the source or an option cannot be used.

    Example:
        >>> import mlcnn
        >>> optimized = mlcnn.optimize("lenet5", form="box")
        >>> [change.nodes[0] for change in optimized.fused]
        ['conv1', 'conv2']
    """
    options = RewriteOptions(passes, form, window, _names(only), _names(exclude), everywhere)
    weights = weights or tuned_weights(source, options)
    model = load(source, example_input, input_shape=input_shape, weights=weights)
    return rewrite(
        model, default_passes(source), options, check=check, chooser=chooser, progress=progress
    )


def potential(optimized: Optimized) -> Potential | None:
    """What the approximate passes would gain beyond what was done; None if nothing.

    None, too, where they ran already.
    A what-if: the network is not changed, and the gain comes at the price of fine-tuning.
    """
    if not all(item.exact for item in pipeline.parse(optimized.pipeline)):
        return None
    what_if = rewrite(optimized.model, _MLCNN, check=False)
    tuned = {name for change in what_if.changes if not change.exact for name in change.nodes}
    further = tuned - {change.nodes[0] for change in optimized.fused}
    sites = [change for change in what_if.fused if change.nodes[0] in further]
    try:
        rows = what_if.counts().layers
    except UnsupportedError:  # sizes are dynamic: there are sites, and no figures
        rows = ()
    saved = sum(
        row.before.multiplications - row.chosen.multiplications
        for row in rows
        if row.fused and row.name in further
    )
    return Potential(len(sites), saved) if sites else None
