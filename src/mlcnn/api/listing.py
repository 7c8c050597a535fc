"""What there is to choose from: networks, passes, methods, engines, machines, tables."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from mlcnn import accelerators, engines, zoo
from mlcnn.api.stacking.kinds import KINDS as STEPS
from mlcnn.errors import InputError, UnsupportedError, did_you_mean
from mlcnn.ops import methods
from mlcnn.passes import pipeline
from mlcnn.zoo import hubs

__all__ = ["KINDS", "Described", "describe", "listed"]


# Types of options that a pipeline's text can hold.
_WRITTEN = (bool, int, float, str, tuple)


@dataclass(frozen=True, slots=True)
class Described:
    """One thing to choose.

    Attributes:
        name: what it is called by.
        about: what it is, in a line.
        options: what can be set, or what is known of it, by name.
        text: a file that describes it, to copy and edit; empty where there is none.
    """

    name: str
    about: str
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    text: str = ""

    def to_json(self) -> dict[str, object]:
        """All fields by name; ``text`` only where there is one."""
        document: dict[str, object] = {
            "name": self.name,
            "about": self.about,
            "options": dict(self.options),
        }
        return document | ({"text": self.text} if self.text else {})


@dataclass(frozen=True, slots=True)
class _Kind:
    """Things of one kind.

    Attributes:
        names: those to choose from.
        describe: one of them.
    """

    names: Callable[[], tuple[str, ...]]
    describe: Callable[[str], Described]


def _first_line(documented: object) -> str:
    return (inspect.getdoc(documented) or "").partition("\n")[0].rstrip(".").replace("``", "")


def _network(name: str) -> Described:
    entry = zoo.describe(name)
    channels, height, width = entry.input_shape
    about = f"{entry.classes} classes of {channels}x{height}x{width} images, {entry.source}"
    options = {
        "input": f"Nx{channels}x{height}x{width}",
        "classes": str(entry.classes),
        "pools": str(entry.pooling),
        "weights": "trained, in the package" if entry.weights else "random",
        "source": entry.source,
    }
    return Described(entry.name, about, options)


def _pass(name: str) -> Described:
    if name in pipeline.ALIASES:
        return Described(name, f"stands for {pipeline.ALIASES[name]}")
    try:
        (item,) = pipeline.parse(name)
    except InputError as error:  # an option that it requires
        if name not in pipeline.pass_names():
            raise
        return Described(name, str(error))
    options: dict[str, str] = {}
    for option in dataclasses.fields(item):  # pyright: ignore[reportArgumentType]
        default: object = getattr(item, option.name)
        if isinstance(default, _WRITTEN):
            options[option.name] = _default(default)
    exactness = "exact" if item.exact else "approximate, needs fine-tuning"
    return Described(name, f"{_first_line(type(item))} ({exactness})", options)


def _default(default: object) -> str:
    """A default as it is written in a pipeline, and what else there is to choose."""
    if isinstance(default, Enum):
        others = ", ".join(str(member) for member in type(default))
        return f"{default} (of {others})"
    if isinstance(default, tuple):
        return "+".join(map(str, default)) or "none"  # pyright: ignore[reportUnknownArgumentType]
    return str(default).lower() if isinstance(default, bool) else str(default) or "none"


def _engine(name: str) -> Described:
    try:
        found: Any = engines.get(name)
    except UnsupportedError as error:
        return Described(name, str(error), {"installed": "no"})
    installed = "yes" if name in engines.available() else "no"
    return Described(name, _first_line(type(found)), {"installed": installed})


def _machine(name: str) -> Described:
    machine = accelerators.load_accelerator(name)
    precision = accelerators.precision_of(machine)
    form = "" if precision is None else f", {precision.value}"
    about = f"{_first_line(type(machine))}{form}, {machine.clock_mhz:g} MHz"
    return Described(name, about, {}, accelerators.accelerator_text(name))


def _method(name: str) -> Described:
    known = methods()
    if name not in known:
        raise InputError(
            f"no method is called {name!r}{did_you_mean(name, tuple(known), ', ', '.')}"
        )
    method = known[name]
    options = {form.name: _first_line(type(form)) for form in method.forms}
    return Described(name, method.summary, options)


def _step(name: str) -> Described:
    if name not in STEPS:
        raise InputError(f"no step is called {name!r}{did_you_mean(name, STEPS, ', ', '.')}")
    step = STEPS[name]
    options = {
        key: f"{value:g} ({step.least[key]:g} to {step.most[key]:g})"
        for key, value in step.values.items()
    }
    how = "trained" if step.trains else "not trained"
    return Described(name, f"{step.summary} ({step.aspect.name.lower()}, {how})", options)


def _source(name: str) -> Described:
    if name not in hubs.prefixes():
        raise hubs.unknown_prefix(name, name)
    try:
        source = hubs.network_source(name)
    except InputError as error:  # one of another package, broken
        return Described(name, str(error), {"needs": "a repair"})
    return Described(name, f"{source.summary}; needs {source.needs}", {"needs": source.needs})


def _technology(name: str) -> Described:
    tables = accelerators.load_technology(name)
    operations, memory, dram = tables.operations_name, tables.memory.name, tables.dram.name
    about = f"operations {operations}, memories {memory}, DRAM {dram}"
    options = {
        "operations": tables.operations_source,
        "memory": tables.memory.source,
        "dram": tables.dram.source,
    }
    return Described(tables.name, about, options)


_KINDS = {
    "zoo": _Kind(zoo.names, _network),
    "passes": _Kind(lambda: (*pipeline.pass_names(), *pipeline.ALIASES), _pass),
    "methods": _Kind(lambda: tuple(methods()), _method),
    "engines": _Kind(engines.names, _engine),
    "machines": _Kind(accelerators.accelerator_names, _machine),
    "steps": _Kind(lambda: tuple(STEPS), _step),
    "technologies": _Kind(accelerators.technology_names, _technology),
    "sources": _Kind(hubs.prefixes, _source),
}

KINDS = tuple(_KINDS)
"""What can be listed."""


def _kind(kind: str) -> _Kind:
    if kind not in _KINDS:
        raise InputError(
            f"{kind!r} cannot be listed{did_you_mean(kind, KINDS, ', ', '.')} Give one of "
            f"{', '.join(KINDS)}"
        )
    return _KINDS[kind]


def listed(kind: str) -> tuple[Described, ...]:
    """Everything of a kind, in order.

    Args:
        kind: one of ``KINDS``.

    Raises:
        InputError: there is no such kind.
    """
    found = _kind(kind)
    return tuple(found.describe(name) for name in found.names())


def describe(kind: str, name: str) -> Described:
    """One of a kind.

    Args:
        kind: one of ``KINDS``.
        name: of the thing; of a network of the zoo, also with a suffix.

    Raises:
        InputError: there is no such kind, or nothing of that name; the message names the nearest.
    """
    return _kind(kind).describe(name)
