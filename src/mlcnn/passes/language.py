"""Pipelines as text, replayable: ``fold-batch-norm,reorder,fuse{form=box}``."""

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from importlib.metadata import entry_points
from typing import Any, cast, get_args, get_origin, get_type_hints
from urllib.parse import quote, unquote

from pydantic import TypeAdapter, ValidationError

from mlcnn.errors import InputError, did_you_mean
from mlcnn.passes.base import Pass
from mlcnn.passes.block_circulant import BlockCirculant
from mlcnn.passes.choice import Chooser
from mlcnn.passes.choose import Choose
from mlcnn.passes.compare_taps import CompareTaps
from mlcnn.passes.fix_taps import FixTaps
from mlcnn.passes.fold_batch_norm import FoldBatchNorm
from mlcnn.passes.fold_constants import FoldConstants
from mlcnn.passes.fuse import Fuse
from mlcnn.passes.inline import Inline
from mlcnn.passes.max_to_average import MaxToAverage
from mlcnn.passes.move_pool import DistributePool, Reorder
from mlcnn.passes.remove_channels import RemoveChannels
from mlcnn.passes.reorder_max import ReorderMax
from mlcnn.passes.share_kernels import ShareKernels

__all__ = [
    "ALIASES",
    "configure",
    "option_types",
    "parse",
    "pass_kinds",
    "pass_names",
    "split",
    "text",
]

ALIASES = {
    "exact": "fold-constants,fold-batch-norm,distribute-pool,fuse,choose",
    "mlcnn": "fold-constants,fold-batch-norm,max-to-average,reorder,distribute-pool,fuse,choose",
}
_LOGGER = logging.getLogger(__name__)
_GROUP = "mlcnn.passes"
_BUILT_IN: dict[str, Callable[..., Pass]] = {
    kind.name: kind
    for kind in (
        BlockCirculant, Choose, CompareTaps, DistributePool, FixTaps, FoldBatchNorm, FoldConstants,
        Fuse, Inline, MaxToAverage, RemoveChannels, Reorder, ReorderMax, ShareKernels,
    )
}  # fmt: skip
# Set per call, not part of what a pipeline's text says.
_UNWRITTEN = frozenset({"chooser"})


@functools.cache
def _registry() -> dict[str, Callable[..., Pass]]:
    """Pass classes by name: built-in ones and a user's own come by the same entry points.

    A plug-in that cannot be imported is left out with a warning.

    Raises:
        InputError: two plug-ins of one name, or one whose class is no pass.
    """
    found: dict[str, Callable[..., Pass]] = dict(_BUILT_IN)
    owners = dict.fromkeys(found, "mlcnn")
    for entry in entry_points(group=_GROUP):
        try:
            kind: Any = entry.load()
        except Exception as error:  # noqa: BLE001 - a plug-in may fail in any way
            _LOGGER.warning("pass %r (%s) is left out: %s", entry.name, entry.value, error)
            continue
        if found.get(entry.name) is kind:
            continue
        if entry.name in found:
            raise InputError(
                f"two plug-ins give a pass {entry.name!r}: {owners[entry.name]} and "
                f"{entry.value}; remove one of them, or rename its entry point"
            )
        if not (is_dataclass(kind) and callable(getattr(kind, "apply", None))):
            raise InputError(
                f"entry point {entry.name!r} of {_GROUP} ({entry.value}) is no pass: a frozen "
                "dataclass with `name`, `exact` and `apply` is required"
            )
        found[entry.name] = cast("Callable[..., Pass]", kind)
        owners[entry.name] = entry.value
    return found


def pass_kinds() -> Mapping[str, Callable[..., Pass]]:
    """The classes of all registered passes by name."""
    return _registry()


def pass_names() -> tuple[str, ...]:
    """Names of all registered passes."""
    return tuple(sorted(_registry()))


def split(pipeline: str, what: str = "--passes") -> list[tuple[str, str]]:
    """(name, options) of every pass; options stand in braces and may hold commas.

    Args:
        pipeline: the text.
        what: it is, for messages.

    Raises:
        InputError: a brace or a comma is missing.
    """
    items: list[tuple[str, str]] = []
    rest = pipeline.strip()
    while rest:
        stop = min((rest.find(c) for c in ",{" if c in rest), default=len(rest))
        name, options = rest[:stop].strip(), ""
        if rest[stop : stop + 1] == "{":
            end = rest.find("}", stop)
            if end < 0:
                raise InputError(f"{what}: missing '}}' after {rest!r}")
            options, stop = rest[stop + 1 : end], end + 1
        rest = rest[stop:].strip()
        if rest and not rest.startswith(","):
            raise InputError(f"{what}: a comma is required before {rest!r}")
        rest = rest[1:].strip()
        items.append((name, options))
    return items


def _convert(name: str, key: str, value: str, kind: Any) -> Any:
    """``value`` as the option's type says; a tuple's items stand between ``+``."""
    if get_origin(kind) is tuple:
        given: object = [unquote(part) for part in value.split("+")]
    elif value.lower() == "none" and type(None) in get_args(kind):
        given = None
    else:
        given = value
    if kind is bool and value.lower() not in {"true", "false"}:
        raise InputError(f"--passes: {name}: {key} is true or false, got {value!r}")
    try:
        return TypeAdapter(kind).validate_python(given)
    except ValidationError as error:
        members = getattr(kind, "__members__", {})
        reason = error.errors()[0]["msg"]
        allowed = f": one of {', '.join(members.values())}" if members else f": {reason}"
        raise InputError(f"--passes: {name}: bad value {value!r} for {key}{allowed}") from None


def option_types(kind: Any) -> dict[str, Any]:
    """The options of a pass, by name: its fields, and the type of each."""
    types = get_type_hints(kind)
    return {o.name: types[o.name] for o in fields(kind) if o.init and o.name not in _UNWRITTEN}


def _default(option: Any) -> Any:
    """The default of an option; ``MISSING`` where it is required."""
    if option.default is not MISSING or option.default_factory is MISSING:
        return option.default
    return option.default_factory()


def _build(name: str, options: str) -> Pass:
    registry = _registry()
    if name in ALIASES:
        raise InputError(
            f"--passes: {name} stands for several passes and takes no options, got {options!r}; "
            f"give them to a pass of {ALIASES[name]}"
        )
    if name not in registry:
        raise InputError(
            f"--passes: unknown pass {name!r}"
            f"{did_you_mean(name, [*registry, *ALIASES], otherwise='.')} "
            f"Known passes: {', '.join(sorted(registry))}; named pipelines: {', '.join(ALIASES)}"
        )
    kind: Any = registry[name]
    known = option_types(kind)
    given: dict[str, Any] = {}
    for item in filter(None, (part.strip() for part in options.split(","))):
        key, _, value = item.partition("=")
        if key not in known:
            raise InputError(
                f"--passes: {name} has no option {key!r}{did_you_mean(key, known, otherwise='.')} "
                f"Its options: {', '.join(known) or 'none'}"
            )
        given[key] = _convert(name, key, value or "true", known[key])
    for option in fields(kind):
        if option.name in known and option.name not in given and _default(option) is MISSING:
            raise InputError(
                f"--passes: {name} needs its option {option.name}: {name}{{{option.name}=...}}"
            )
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
    for name, options in split(pipeline):
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
            if o.init and o.name not in _UNWRITTEN and (v := getattr(item, o.name)) != _default(o)
        ]
        items.append(item.name + (f"{{{','.join(given)}}}" if given else ""))
    return ",".join(items)


def configure(
    passes: Sequence[Pass],
    *,
    only: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    chooser: Chooser | None = None,
    settings: Sequence[str] = (),
    **options: Any,
) -> tuple[Pass, ...]:
    """The same passes with options set.

    Args:
        passes: the passes.
        only: layer names, for every pass that selects.
        exclude: layer names, likewise.
        chooser: what every pass asks that chooses.
        settings: ``pass.option=value``: one option of the passes of one name.
        options: options of the command line, for the passes that declare them as ``shared``;
            None leaves one as it is.

    Raises:
        InputError: a setting names a pass that is not among them, or an option that it lacks.
    """
    wanted = {"only": only or None, "exclude": exclude or None, "chooser": chooser}
    result: list[Pass] = []
    for item in passes:
        names = {option.name for option in fields(item)}  # pyright: ignore[reportArgumentType]
        given: dict[str, Any] = {k: v for k, v in wanted.items() if v is not None and k in names}
        shared = getattr(item, "shared", frozenset[str]())
        given |= {k: v for k, v in options.items() if v is not None and k in shared}
        if "exclude" in given:  # a replayed pipeline has some of its own
            own: tuple[str, ...] = getattr(item, "exclude")  # noqa: B009 - an option of most
            given["exclude"] = tuple(dict.fromkeys((*own, *exclude)))
        result.append(replace(item, **given) if given else item)  # pyright: ignore[reportArgumentType]
    for setting in settings:
        result = _set(result, setting)
    return tuple(result)


def _set(passes: Sequence[Pass], setting: str) -> list[Pass]:
    """The passes with ``pass.option=value`` set."""
    target, sign, value = setting.partition("=")
    name, _, key = target.rpartition(".")
    names = [item.name for item in passes]
    if not sign or name not in names:
        raise InputError(
            f"--set {setting}: pass.option=value is required, of a pass of the pipeline "
            f"({', '.join(dict.fromkeys(names))}){did_you_mean(name, names, otherwise='.')}"
        )
    result: list[Pass] = []
    for item in passes:
        if item.name != name:
            result.append(item)
            continue
        types = option_types(type(item))
        if key not in types:
            raise InputError(
                f"--set {setting}: {name} has no option {key!r}"
                f"{did_you_mean(key, types, otherwise='.')} "
                f"Its options: {', '.join(types) or 'none'}"
            )
        changed: Any = {key: _convert(name, key, value, types[key])}
        result.append(replace(item, **changed))  # pyright: ignore[reportArgumentType]
    return result
