"""Runs a pipeline: pass after pass, each checked, what fails left alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import onnx_ir as ir

from mlcnn.errors import PassError
from mlcnn.graph import check
from mlcnn.passes.base import Change, Pass, PassResult, Replayed, Skipped
from mlcnn.passes.context import Context, ContextPass, needs_of, require_context
from mlcnn.passes.language import ALIASES, configure, parse, pass_names, text
from mlcnn.passes.sites import EXCLUDED
from mlcnn.passes.verification import SiteCheck, Verification, check_sites

__all__ = [
    "ALIASES",
    "ALL",
    "PipelineResult",
    "Stage",
    "configure",
    "parse",
    "pass_names",
    "run",
    "text",
]

ALL = "(all)"
"""Stands for every site of a pass where one is left alone."""

_METADATA_KEY = "mlcnn.pipeline"


@dataclass(frozen=True, slots=True)
class Stage:
    """One pass of a run.

    Attributes:
        applied: the pass, with what it had to leave alone among its exclusions.
        before: the network before it.
        result: what it gave.
        checks: the checks of its exact changes; None if they were not asked for.
    """

    applied: Pass
    before: ir.Model
    result: PassResult
    checks: tuple[SiteCheck, ...] | None = None


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """The network after all passes, what every pass did, and the text that replays it."""

    model: ir.Model
    stages: tuple[Stage, ...]
    text: str

    @property
    def changes(self) -> tuple[Change, ...]:
        """All changes, in order."""
        return tuple(change for stage in self.stages for change in stage.result.changes)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """All sites left alone, in order."""
        return tuple(skipped for stage in self.stages for skipped in stage.result.skipped)

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
        applied = _leaving(item, left)
        while applied is not None:
            self.tell(item.name, 0, 0)
            try:
                result = self.applied(applied, before)
                checks, failures = self._checked(applied, before, result)
            except PassError as error:
                if not self.check:
                    raise
                left = {ALL: str(error)}
                break
            if not failures:
                return Stage(applied, before, _explained(result, left), checks)
            left |= failures
            applied = _leaving(item, left)
        skipped = tuple(Skipped(item.name, node, reason) for node, reason in left.items())
        return Stage(item, before, PassResult(before, (), skipped), () if self.check else None)

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


def _explained(result: PassResult, left: Mapping[str, str]) -> PassResult:
    """The same result, the sites that were left alone with the reason why."""
    if not left:
        return result
    skipped = tuple(
        replace(item, reason=left[item.reason.removeprefix(EXCLUDED)])
        if item.reason.startswith(EXCLUDED) and item.reason.removeprefix(EXCLUDED) in left
        else item
        for item in result.skipped
    )
    return replace(result, skipped=skipped)


def _silent(name: str, done: int, total: int) -> None:
    del name, done, total


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
    runner = _Runner(verify, progress or _silent, left, context or Context())
    stages: list[Stage] = []
    replayed: list[Pass] = []
    current = model
    for item in passes:
        stage = runner.stage(item, current)
        stages.append(stage)
        if on_stage is not None:
            on_stage(stage)
        done = stage.applied
        replayed.append(done.replay(stage.result) if isinstance(done, Replayed) else done)
        current = stage.result.model
    written = text(replayed)
    if current is model:
        current = model.clone()
    current.metadata_props[_METADATA_KEY] = written
    return PipelineResult(current, tuple(stages), written)
