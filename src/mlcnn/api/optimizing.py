"""Rewrite a network and verify that the exact rewrites are exact."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir
import torch

from mlcnn import counting, engines, graph, nn
from mlcnn.api.checking import NetworkCheck, check_network
from mlcnn.api.loading import ExampleInput, Rewritten, Source, is_zoo_name, load, zoo_entry
from mlcnn.api.options import RewriteOptions
from mlcnn.errors import InputError, UnsupportedError
from mlcnn.passes import Change, Chooser, Pass, Skipped, WindowMode, pipeline
from mlcnn.passes.pipeline import ALL, PipelineResult
from mlcnn.passes.verification import Verification
from mlcnn.report import ORIGINAL, RESULT, Potential
from mlcnn.table import Shown, Tabular

if TYPE_CHECKING:
    from os import PathLike

__all__ = [
    "Optimized",
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
_NO_OPTIONS = RewriteOptions()
# A network that differs still without so many sites is left to the passes that are not to blame.
_MOST_CULPRITS = 8


@dataclass(frozen=True, slots=True, repr=False)
class Optimized(Rewritten, Tabular):
    """A rewritten network, and what was done to it.

    Attributes:
        original: the network as it was loaded.
        model: the rewritten network; the fused operators are functions of the domain ``mlcnn``.
        stages: the network after the last approximate pass that changed it, by the names of those
            passes, if exact ones changed it further: what the gain of these is measured against.
        pipeline: the passes as text, with the chosen form of each site; it can be run again.
        changes: every rewritten site, pass by pass.
        skipped: every site that was left alone, with the reason.
        verification: the check of the exact rewrites; None if it was not asked for.
        network: the check of the whole network; None if it was not asked for.
    """

    original: ir.Model
    model: ir.Model
    stages: Mapping[str, ir.Model]
    pipeline: str
    changes: tuple[Change, ...]
    skipped: tuple[Skipped, ...]
    verification: Verification | None
    network: NetworkCheck | None = None

    @property
    def variants(self) -> dict[str, ir.Model]:
        """What is measured side by side: the original, the stages, and the result if it differs."""
        found = {ORIGINAL: self.original, **self.stages}
        return found | {RESULT: self.model} if self.changes else found

    @property
    def fused(self) -> tuple[Change, ...]:
        """The changes with a form: sites that are computed otherwise than by plain operators."""
        return tuple(change for change in self.changes if change.form is not None)

    @property
    def changed(self) -> bool:
        """Whether a layer takes other operations now than before.

        Where sizes are dynamic, so that nothing can be counted: whether a site is fused.
        """
        if self.fused or not self.changes:
            return bool(self.fused)
        try:
            return self.counts().changed
        except UnsupportedError:
            return False

    @property
    def approximate(self) -> bool:
        """Whether a pass changed what the network computes, so that it needs fine-tuning."""
        return any(not change.exact for change in self.changes)

    @property
    def max_error(self) -> float | None:
        """Largest error at an exactly rewritten site in float64, relative to its largest value."""
        if self.verification is None or not self.verification.sites:
            return None
        return self.verification.max_error

    @property
    def stored_error(self) -> float | None:
        """The same error with the weights as the rewritten network stores them."""
        if self.verification is None or not self.verification.sites:
            return None
        return self.verification.max_deployed_error

    @property
    def vacuous(self) -> bool:
        """Whether the check could not have seen an error, or there was nothing to check."""
        return self.verification is None or self.verification.vacuous

    @property
    def verified(self) -> str:
        """What was checked, in one line."""
        if self.verification is None or self.network is None:
            return "not verified"
        sites = len(self.verification.sites)
        places = "no site" if not sites else "1 site" if sites == 1 else f"{sites} sites"
        return f"verified: {places} in float64; whole network {self.network.told}"

    def save(self, path: "str | PathLike[str]", *, functions: bool = False) -> bool:
        """Write the rewritten network to an ``.onnx`` file, in standard operators only.

        Where nothing was rewritten and the network came from a file, this is that file as it was,
        byte for byte.

        Args:
            path: the file; it is replaced at once, when the new one is complete.
            functions: keep the fused operators as functions of the domain ``mlcnn``.

        Returns:
            Whether it is the file that the network came from.

        Raises:
            InputError: the file cannot be written.
        """
        if not self.changes and graph.copy_source(self.original, Path(path)):
            return True
        graph.save(self.model, Path(path), functions=functions)
        return False

    def module(self) -> torch.fx.GraphModule:
        """The rewritten network as a torch module, for fine-tuning."""
        return nn.to_module(self.model)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the rewritten network in ONNX Runtime.

        Args:
            inputs: an array for each input, by name.
        """
        return engines.get("onnxruntime").prepare(self.model).run(dict(inputs))

    def counts(
        self, *, batch: int = 1, input_shape: Sequence[int] | None = None
    ) -> counting.CountReport:
        """Multiplications and additions per layer, before and after."""
        shape = None if input_shape is None else tuple(input_shape)
        return counting.count(self.model, self.original, batch=batch, input_shape=shape)

    def records(self) -> list[dict[str, Any]]:
        """A row for each place that a pass rewrote or left alone, pass by pass."""
        done = [
            {
                "pass": change.pass_name,
                "node": change.nodes[0] if change.nodes else "",
                "rewritten": True,
                "form": change.form,
                "exact": change.exact,
                "reason": change.reason,
            }
            for change in self.changes
        ]
        left = [
            {
                "pass": item.pass_name,
                "node": item.node,
                "rewritten": False,
                "form": None,
                "exact": None,
                "reason": item.reason,
            }
            for item in self.skipped
        ]
        return done + left

    def shown(self) -> Shown:
        """What was rewritten, how, and how much was left alone."""
        rows = tuple(
            (
                row["node"],
                row["pass"],
                row["form"] or "",
                "exact" if row["exact"] else "approximate",
            )
            for row in self.records()
            if row["rewritten"]
        )
        name = self.original.graph.name or "network"
        title = f"{name}: {len(rows)} places rewritten, {len(self.skipped)} left alone"
        return Shown(title, ("layer", "pass", "form", ""), rows, (self.verified,))

    def to_json(self) -> dict[str, object]:
        """What ``mlcnn optimize --json`` prints, apart from the output's path."""
        return {
            "pipeline": self.pipeline,
            "changes": [
                {
                    "pass": change.pass_name,
                    "nodes": list(change.nodes),
                    "form": change.form,
                    "exact": change.exact,
                }
                for change in self.changes
            ],
            "skipped": [
                {"pass": item.pass_name, "node": item.node, "reason": item.reason}
                for item in self.skipped
            ],
            "max_error": self.max_error,
            "vacuous": self.vacuous,
            "network": None if self.network is None else self.network.to_json(),
        }


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
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
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
    asked = ["rewriting"] if options != _NO_OPTIONS else []
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
    options: RewriteOptions = _NO_OPTIONS,
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
