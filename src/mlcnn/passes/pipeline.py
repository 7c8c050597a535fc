"""Runs a pipeline: pass after pass, each checked, what fails left alone."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import onnx_ir as ir

from mlcnn.errors import PassError
from mlcnn.graph import check, layer_name, value_names
from mlcnn.passes.base import Change, Foreseeing, Pass, PassResult, Replayed, Skipped
from mlcnn.passes.context import Context, ContextPass, needs_of, require_context
from mlcnn.passes.inline import Inline, hidden_layers
from mlcnn.passes.language import ALIASES, configure, parse, pass_names, text
from mlcnn.passes.skeleton import append_change, explained
from mlcnn.passes.verification import SiteCheck, Verification, check_sites

__all__ = [
    "ALIASES",
    "ALL",
    "PipelineResult",
    "Stage",
    "configure",
    "foreseen",
    "parse",
    "pass_names",
    "run",
    "text",
    "undecided",
]

_LOGGER = logging.getLogger(__name__)
ALL = "(all)"
"""Stands for every site of a pass where one is left alone."""

_MOST_ROUNDS = 16  # a network has seldom two pools in a row, never so many
_METADATA_KEY = "mlcnn.pipeline"


@dataclass(frozen=True, slots=True)
class Stage:
    """One pass of a run.

    Attributes:
        applied: the pass, with what it had to leave alone among its exclusions.
        before: the network before it.
        result: what it gave.
        checks: the checks of its exact changes; None if they were not asked for.
        failed: why sites were left alone whose check failed, by layer.
        again: whether the pass ran before, on what it could not see through then.
    """

    applied: Pass
    before: ir.Model
    result: PassResult
    checks: tuple[SiteCheck, ...] | None = None
    failed: Mapping[str, str] = field(default_factory=dict)
    again: bool = False


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """The network after all passes, what every pass did, and texts that do it again.

    Attributes:
        model: the network.
        stages: what every pass did.
        text: the pipeline that replays it, with all choices.
        settled: the pipeline as it was asked for; of the choices it has those of a pass that looks
            at what runs behind it: which layers change, not in which form they run.
    """

    model: ir.Model
    stages: tuple[Stage, ...]
    text: str
    settled: str

    @property
    def changes(self) -> tuple[Change, ...]:
        """All changes, in order; what a pass made and rewrote again later on is one."""
        found: list[Change] = []
        for stage in self.stages:
            for change in stage.result.changes:
                append_change(found, change, _gone(found, change, stage.result.model))
        return tuple(found)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """All sites left alone in the end, in order."""
        taken: set[str] = set()
        found: list[Skipped] = []
        for stage in self.stages:
            if stage.again:
                taken.update(node for change in stage.result.changes for node in change.nodes)
                found = [skipped for skipped in found if skipped.node not in taken]
            found += [s for s in stage.result.skipped if not stage.again or s.node in stage.failed]
        return tuple(found)

    @property
    def verification(self) -> Verification | None:
        """The checks of all exact changes; None if they were not asked for."""
        checks = [stage.checks for stage in self.stages if stage.checks is not None]
        if len(checks) < len(self.stages):
            return None
        return Verification(tuple(check for group in checks for check in group))


_NOTHING_LEFT: Mapping[tuple[str, str], str] = {}


@dataclass(frozen=True, slots=True)
class _Runner:
    """Applies one pass after the other.

    Attributes:
        check: whether every exact change is checked, and left out where its check fails.
        tell: see ``run``.
        left: see ``run``.
        context: see ``run``.
    """

    check: bool
    tell: Callable[[str, int, int], None]
    left: Mapping[tuple[str, str], str] = field(default_factory=dict)
    context: Context = field(default_factory=Context)

    def stage(self, item: Pass, before: ir.Model) -> Stage:
        """Apply a pass; what fails its check is left alone, and the rest done again."""
        left = {node: why for (name, node), why in self.left.items() if name == item.name}
        failed: dict[str, str] = {}
        applied = _leaving(item, left)
        while applied is not None:
            self.tell(item.name, 0, 0)
            try:
                result = self.applied(applied, before)
                checks, failures = self._checked(applied, before, result)
            except PassError as error:
                if not self.check:
                    raise
                left = failed = {ALL: str(error)}
                break
            if not failures:
                return Stage(applied, before, explained(result, left), checks, failed)
            left |= failures
            failed |= failures
            applied = _leaving(item, left)
        skipped = tuple(Skipped(item.name, node, reason) for node, reason in left.items())
        nothing = PassResult(before, (), skipped)
        return Stage(item, before, nothing, () if self.check else None, failed)

    def again(self, passes: Sequence[Pass], before: ir.Model) -> list[Stage]:
        """What passes take once hidden layers are spelled out, with no stage that did nothing."""
        hidden, exclude = tuple(map(layer_name, hidden_layers(before))), ()
        while set(exclude) < set(hidden):
            stages = [self.stage(Inline(exclude=exclude), before)]
            for item in passes:
                stages.append(replace(self.stage(item, stages[-1].result.model), again=True))
            did = [stage for stage in stages[1:] if stage.result.changes or stage.failed]
            taken = {node for stage in did for c in stage.result.changes for node in c.nodes}
            taken.update(node for stage in did for node in stage.failed)
            # An operator that was spelled out for nothing stays an operator.
            vain = tuple(name for name in hidden if name not in taken)
            if vain == exclude:
                return [stages[0], *did]
            exclude = vain
        return []

    def applied(self, item: Pass, before: ir.Model) -> PassResult:
        """What a pass makes of a network; one that declares needs is given the context."""
        if not needs_of(item):
            return item.apply(before)

        def told(done: int, total: int) -> None:
            self.tell(item.name, done, total)

        context = replace(self.context, progress=told)
        return cast("ContextPass", item).apply(before, context)

    def _checked(
        self, applied: Pass, before: ir.Model, result: PassResult
    ) -> tuple[tuple[SiteCheck, ...] | None, dict[str, str]]:
        if result.changes:
            try:
                check(result.model)
            except Exception as error:
                raise PassError(f"{applied.name} produced an invalid network: {error}") from error
        if not self.check:
            return None, {}
        return check_sites(
            applied, before, result, progress=lambda done, total: self.tell("verify", done, total)
        )


def _leaving(item: Pass, left: Mapping[str, str]) -> Pass | None:
    """The pass without the sites of these layers; None if it cannot be told to leave them."""
    if not left:
        return item
    if ALL in left or not hasattr(item, "exclude"):
        return None
    excluded = dict.fromkeys((*getattr(item, "exclude"), *left))  # noqa: B009 - an option of most
    return replace(item, exclude=tuple(excluded))  # pyright: ignore[reportCallIssue, reportArgumentType]


def _gone(found: Sequence[Change], change: Change, model: ir.Model) -> str | None:
    """Where a change of the same pass and layer ended, if that is no value of the network now."""
    ends = [
        name
        for earlier in found
        if (earlier.pass_name, earlier.nodes[:1]) == (change.pass_name, change.nodes[:1])
        for name in earlier.outputs
    ]
    kept = value_names(model) if ends else set[str]()
    return next((name for name in ends if name not in kept), None)


def _replayed(stage: Stage) -> Pass:
    """The pass of a stage with its choices written down."""
    done = stage.applied
    return done.replay(stage.result) if isinstance(done, Replayed) else done


def _silent(name: str, done: int, total: int) -> None:
    del name, done, total


def foreseen(passes: Sequence[Pass]) -> tuple[Pass, ...]:
    """The same passes, each of which knows what runs behind it."""
    return tuple(
        item.foresee(passes[place + 1 :]) if isinstance(item, Foreseeing) else item
        for place, item in enumerate(passes)
    )


def undecided(passes: Sequence[Pass]) -> bool:
    """Whether a chooser says where one of the passes does its work."""
    return any(isinstance(item, Foreseeing) and item.undecided for item in passes)


def _log(stage: Stage) -> None:
    """Tell what a pass did, site by site where details are wanted."""
    name, result = stage.applied.name, stage.result
    _LOGGER.info("pass %s: %d changes, %d skipped", name, len(result.changes), len(result.skipped))
    for change in result.changes:
        _LOGGER.debug("%s changed %s: %s", name, ", ".join(change.nodes), change.form or "exact")
    for skipped in result.skipped:
        _LOGGER.debug("%s skipped %s: %s", name, skipped.node, skipped.reason)


def run(
    model: ir.Model,
    passes: Sequence[Pass],
    *,
    verify: bool = False,
    left: Mapping[tuple[str, str], str] = _NOTHING_LEFT,
    context: Context | None = None,
    on_stage: Callable[[Stage], None] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> PipelineResult:
    """Apply ``passes`` one after the other; check the network after each.

    Where a pool or a batch norm is left behind an operator that they made, this is spelled out and
    the passes look at it again (``SitePass.repeats``), until they take nothing more.

    Args:
        model: the network; never changed.
        passes: the passes, in order.
        verify: check every exact change at its site. A change that fails is taken back: its site
            is left alone, with that reason, and so is what a pass makes an invalid network of.
        left: why to leave the site of a layer alone, by (name of the pass, name of the layer);
            ``ALL`` in place of the layer leaves out the pass.
        context: what passes may declare that they need: data, a seed.
        on_stage: told every stage when it is done, to look at or to write out.
        progress: told the stage of the work, the steps done and their number (0: not known).

    Raises:
        InputError: a pass needs something that the context does not have.
        PassError: without ``verify``, a pass produced an invalid network.
    """
    require_context(passes, context or Context())
    passes = foreseen(passes)
    runner = _Runner(verify, progress or _silent, left, context or Context())
    stages: list[Stage] = []
    current = model

    def record(stage: Stage) -> ir.Model:
        stages.append(stage)
        _log(stage)
        if on_stage is not None:
            on_stage(stage)
        return stage.result.model

    for item in passes:
        current = record(runner.stage(item, current))
    # What was left for its cost is not asked again.
    repeated = [
        _replayed(replace(stage, result=replace(stage.result, changes=())))
        for stage in stages
        if getattr(stage.applied, "repeats", False)
    ]
    for _ in range(_MOST_ROUNDS if repeated else 0):
        more = runner.again(repeated, current)
        for stage in more:
            current = record(stage)
        if not more:
            break
    written = text([_replayed(stage) for stage in stages])
    if current is model:
        current = model.clone()
    current.metadata_props[_METADATA_KEY] = written
    settled = [
        _replayed(stage) if isinstance(item, Foreseeing) else item
        for item, stage in zip(passes, stages, strict=False)
    ]
    return PipelineResult(current, tuple(stages), written, text(settled))
