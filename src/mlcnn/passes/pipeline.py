"""Pipelines: passes as text, replayable, e.g. ``fold-batch-norm,reorder,fuse{form=box}``."""

import difflib
import functools
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from importlib.metadata import entry_points
from typing import Any

import onnx_ir as ir

from mlcnn.errors import InputError, PassError
from mlcnn.graph import check
from mlcnn.passes.base import Change, Pass, PassResult, Skipped
from mlcnn.passes.choice import Chooser
from mlcnn.passes.fuse import Fuse

__all__ = ["ALIASES", "PipelineResult", "Stage", "configure", "parse", "pass_names", "run", "text"]

ALIASES = {
    "exact": "fold-constants,fold-batch-norm,distribute-pool,fuse",
    "mlcnn": "fold-constants,fold-batch-norm,max-to-average,reorder,distribute-pool,fuse",
}
_METADATA_KEY = "mlcnn.pipeline"
# Set per call, not part of what a pipeline's text says.
_UNWRITTEN = frozenset({"chooser", "only", "exclude"})


@dataclass(frozen=True, slots=True)
class Stage:
    """One pass of a run: the network before it, and its result."""

    applied: Pass
    before: ir.Model
    result: PassResult


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
        return tuple(value.split("+"))
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


def text(passes: Sequence[Pass]) -> str:
    """The text that ``parse`` turns into ``passes``."""
    items: list[str] = []
    for item in passes:
        options: Any = fields(item)  # pyright: ignore[reportArgumentType]
        given = [
            f"{o.name}={'+'.join(v) if isinstance(v, tuple) else v}"
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


def run(
    model: ir.Model,
    passes: Sequence[Pass],
    *,
    progress: Callable[[str], None] | None = None,
) -> PipelineResult:
    """Apply ``passes`` one after the other; check the network after each.

    Args:
        model: the network; never changed.
        passes: the passes, in order.
        progress: told the name of every pass before it runs.

    Raises:
        PassError: a pass produced an invalid network.
    """
    stages: list[Stage] = []
    replayed: list[Pass] = []
    current = model
    for item in passes:
        if progress is not None:
            progress(item.name)
        result = item.apply(current)
        if result.changes:
            try:
                check(result.model)
            except Exception as error:
                raise PassError(f"{item.name} produced an invalid network: {error}") from error
        stages.append(Stage(item, current, result))
        replayed.append(item.replay(result) if isinstance(item, Fuse) else item)
        current = result.model
    written = text(replayed)
    if current is model:
        current = model.clone()
    current.metadata_props[_METADATA_KEY] = written
    return PipelineResult(current, tuple(stages), written)
