"""Pipelines: passes as text, replayable, e.g. ``fold-batch-norm,reorder,fuse{form=box}``."""

import difflib
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from importlib.metadata import entry_points
from typing import Any
from urllib.parse import quote, unquote

import onnx_ir as ir

from mlcnn.errors import InputError, PassError
from mlcnn.graph import check
from mlcnn.passes.base import Change, Pass, PassResult, Replayed, Skipped
from mlcnn.passes.choice import Chooser
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

ALIASES = {
    "exact": "fold-constants,fold-batch-norm,distribute-pool,fuse",
    "mlcnn": "fold-constants,fold-batch-norm,max-to-average,reorder,distribute-pool,fuse",
}
ALL = "(all)"
"""Stands for every site of a pass where one is left alone."""

_METADATA_KEY = "mlcnn.pipeline"
# Set per call, not part of what a pipeline's text says.
_UNWRITTEN = frozenset({"chooser"})


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


@functools.cache
def _registry() -> dict[str, Callable[..., Pass]]:
    """Pass classes by name: built-in ones and a user's own come by the same entry points."""
    return {entry.name: entry.load() for entry in entry_points(group="mlcnn.passes")}


def pass_names() -> tuple[str, ...]:
    """Names of all registered passes."""
    return tuple(sorted(_registry()))


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"; did you mean {close[0]!r}?" if close else "."


def _split(pipeline: str) -> list[tuple[str, str]]:
    """(name, options) of every pass; options stand in braces and may hold commas."""
    items: list[tuple[str, str]] = []
    rest = pipeline.strip()
    while rest:
        stop = min((rest.find(c) for c in ",{" if c in rest), default=len(rest))
        name, options = rest[:stop].strip(), ""
        if rest[stop : stop + 1] == "{":
            end = rest.find("}", stop)
            if end < 0:
                raise InputError(f"--passes: missing '}}' after {rest!r}")
            options, stop = rest[stop + 1 : end], end + 1
        rest = rest[stop:].strip()
        if rest and not rest.startswith(","):
            raise InputError(f"--passes: a comma is required before {rest!r}")
        rest = rest[1:].strip()
        items.append((name, options))
    return items


def _convert(name: str, key: str, value: str, default: Any) -> Any:
    """``value`` as the type of the option's default."""
    if isinstance(default, bool):
        if value.lower() in {"true", "false"}:
            return value.lower() == "true"
        raise InputError(f"--passes: {name}: {key} is true or false, got {value!r}")
    if isinstance(default, tuple):
        return tuple(unquote(part) for part in value.split("+"))
    try:
        return type(default)(value)
    except ValueError:
        members = getattr(type(default), "__members__", {})
        allowed = f": one of {', '.join(members.values())}" if members else ""
        raise InputError(f"--passes: {name}: bad value {value!r} for {key}{allowed}") from None


def _default(option: Any) -> Any:
    return option.default if option.default is not MISSING else option.default_factory()


def _build(name: str, options: str) -> Pass:
    registry = _registry()
    if name in ALIASES:
        raise InputError(
            f"--passes: {name} stands for several passes and takes no options, got {options!r}; "
            f"give them to a pass of {ALIASES[name]}"
        )
    if name not in registry:
        raise InputError(
            f"--passes: unknown pass {name!r}{_nearest(name, [*registry, *ALIASES])} "
            f"Known passes: {', '.join(sorted(registry))}; named pipelines: {', '.join(ALIASES)}"
        )
    kind: Any = registry[name]
    known = {option.name: _default(option) for option in fields(kind) if option.name != "chooser"}
    given: dict[str, Any] = {}
    for item in filter(None, (part.strip() for part in options.split(","))):
        key, _, value = item.partition("=")
        if key not in known:
            raise InputError(
                f"--passes: {name} has no option {key!r}{_nearest(key, list(known))} "
                f"Its options: {', '.join(known) or 'none'}"
            )
        given[key] = _convert(name, key, value or "true", known[key])
    return kind(**given)


def parse(pipeline: str) -> tuple[Pass, ...]:
    """The passes of a pipeline's text.

    Args:
        pipeline: pass names or aliases (``exact``, ``mlcnn``), separated by commas, with options
            in braces: ``max-to-average{window=keep},fuse{form=box}``.

    Raises:
        InputError: an unknown pass or option (the message names the nearest), or a bad value.

    Example:
        >>> [p.name for p in parse("reorder,fuse{form=box}")]
        ['reorder', 'fuse']
    """
    result: list[Pass] = []
    for name, options in _split(pipeline):
        if name in ALIASES and not options:
            result.extend(parse(ALIASES[name]))
        else:
            result.append(_build(name, options))
    return tuple(result)


def _joined(names: Sequence[str]) -> str:
    """Layer names as one text; signs that separate stand as in a URL."""
    return "+".join(quote(name, safe="/:@") for name in names)


def text(passes: Sequence[Pass]) -> str:
    """The text that ``parse`` turns into ``passes``."""
    items: list[str] = []
    for item in passes:
        options: Any = fields(item)  # pyright: ignore[reportArgumentType]
        given = [
            f"{o.name}={_joined(v) if isinstance(v, tuple) else v}"
            for o in options
            if o.name not in _UNWRITTEN and (v := getattr(item, o.name)) != _default(o)
        ]
        items.append(item.name + (f"{{{','.join(given)}}}" if given else ""))
    return ",".join(items)


def configure(
    passes: Sequence[Pass],
    *,
    only: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    chooser: Chooser | None = None,
    **options: Any,
) -> tuple[Pass, ...]:
    """The same passes with options set in every pass that has them; None leaves one as it is."""
    wanted = {"only": only or None, "exclude": exclude or None, "chooser": chooser, **options}
    result: list[Pass] = []
    for item in passes:
        names = {option.name for option in fields(item)}  # pyright: ignore[reportArgumentType]
        given = {k: v for k, v in wanted.items() if v is not None and k in names}
        result.append(replace(item, **given) if given else item)  # pyright: ignore[reportArgumentType]
    return tuple(result)


_NOTHING_LEFT: Mapping[tuple[str, str], str] = {}


@dataclass(frozen=True, slots=True)
class _Runner:
    """Applies one pass after the other.

    Attributes:
        check: whether every exact change is checked, and left out where its check fails.
        tell: see ``run``.
        left: see ``run``.
    """

    check: bool
    tell: Callable[[str, int, int], None]
    left: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def stage(self, item: Pass, before: ir.Model) -> Stage:
        """Apply a pass; what fails its check is left alone, and the rest done again."""
        left = {node: why for (name, node), why in self.left.items() if name == item.name}
        applied = _leaving(item, left)
        while applied is not None:
            self.tell(item.name, 0, 0)
            try:
                result = applied.apply(before)
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
        progress: told the stage of the work, the steps done and their number (0: not known).

    Raises:
        PassError: without ``verify``, a pass produced an invalid network.
    """
    runner = _Runner(verify, progress or _silent, left)
    stages: list[Stage] = []
    replayed: list[Pass] = []
    current = model
    for item in passes:
        stage = runner.stage(item, current)
        stages.append(stage)
        done = stage.applied
        replayed.append(done.replay(stage.result) if isinstance(done, Replayed) else done)
        current = stage.result.model
    written = text(replayed)
    if current is model:
        current = model.clone()
    current.metadata_props[_METADATA_KEY] = written
    return PipelineResult(current, tuple(stages), written)
