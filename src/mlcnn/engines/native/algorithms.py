"""Which algorithm computes a convolution, and why."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlcnn.engines.engine import LayerAlgorithm
from mlcnn.engines.native.convolution import Geometry
from mlcnn.engines.native.estimate import Estimate, estimate
from mlcnn.engines.native.library import Library
from mlcnn.engines.native.machine import Machine
from mlcnn.engines.native.measured import Stopwatch
from mlcnn.engines.native.winograd import Winograd
from mlcnn.errors import InputError, did_you_mean

__all__ = ["ALGORITHMS", "MEASURED", "Chooser", "Choosing"]

MEASURED = "measured"
ALGORITHMS = ("auto", MEASURED, "direct", "winograd")
_WORTH = 1.02  # times as fast as an algorithm with fewer weights

Kind = Winograd | None
Ways = Mapping[Kind, Estimate]


@dataclass(frozen=True, slots=True)
class _Choice:
    """An algorithm, the figures behind it, and its measured time in ms."""

    kind: Kind
    reason: str
    ms: float | None = None


Rule = Callable[[str, Geometry, Ways], _Choice]


@dataclass(frozen=True, slots=True)
class Choosing:
    """How the algorithms of a network are chosen.

    Attributes:
        algorithm: one of ``ALGORITHMS``, or the path of a saved choice.
        machine: what a core can do.
        threads: that compute.
        network_bytes: of all weights.

    Raises:
        InputError: there is no such algorithm or file, or the file holds no choice.
    """

    algorithm: str
    machine: Machine
    threads: int
    network_bytes: int

    def __post_init__(self) -> None:
        if self.algorithm in ALGORITHMS:
            return
        path = Path(self.algorithm)
        if path.suffix != ".json" and not path.exists():
            hint = did_you_mean(self.algorithm, ALGORITHMS)
            known = ", ".join(ALGORITHMS)
            raise InputError(
                f"unknown algorithm {self.algorithm!r}{hint} (known algorithms: {known}; or a file "
                "that `mlcnn bench --json` wrote)"
            )

    def chooser(self, library: Library) -> "Chooser":
        """A chooser for a network that these kernels compute."""
        rules: dict[str, Callable[[], Rule]] = {
            "auto": lambda: _estimated,
            "direct": lambda: _direct,
            "winograd": lambda: _transformed,
            MEASURED: lambda: _measured(Stopwatch(library, self.threads, self.network_bytes)),
        }
        rule = rules[self.algorithm]() if self.algorithm in rules else _saved(Path(self.algorithm))
        return Chooser(rule, library, self.machine)


class Chooser:
    """Chooses for each convolution of a network.

    Attributes:
        choices: those made so far.
    """

    def __init__(self, rule: Rule, library: Library, machine: Machine) -> None:
        """Choose by a rule; see ``Choosing``."""
        self._rule, self._block, self._machine = rule, library.block, machine
        self.choices: list[LayerAlgorithm] = []

    def __call__(self, layer: str, geometry: Geometry) -> Kind:
        """The transform that computes the layer; None computes every product."""
        kinds: tuple[Kind, ...] = (None, *geometry.transforms())
        ways = {kind: estimate(geometry, kind, self._block, self._machine) for kind in kinds}
        choice = self._rule(layer, geometry, ways)
        figure = ways[choice.kind]
        ms = 1e3 * figure.seconds if choice.ms is None else choice.ms
        share = figure.useful_macs / (ms / 1e3) / self._machine.macs_per_s
        self.choices.append(LayerAlgorithm(
            layer, geometry.shown, _shown(choice.kind), choice.reason, ms, choice.ms is not None,
            share, figure.bound,
        ))  # fmt: skip
        return choice.kind


def _shown(kind: Kind) -> str:
    return "direct" if kind is None else kind.shown


def _best(ms: Mapping[Kind, float], how: str) -> tuple[Kind, str]:
    """The fastest; of those nearly as fast the one with the fewest weights."""
    least = min(ms.values())
    kind = next(kind for kind, spent in ms.items() if spent <= least * _WORTH)
    others = "".join(f"; {_shown(k)} {spent:.3g} ms" for k, spent in ms.items() if k is not kind)
    return kind, f"{how} {ms[kind]:.3g} ms{others}"


def _direct(layer: str, geometry: Geometry, ways: Ways) -> _Choice:
    del layer, geometry, ways
    return _Choice(None, "asked for")


def _estimated(layer: str, geometry: Geometry, ways: Ways) -> _Choice:
    del layer, geometry
    return _Choice(*_best({kind: 1e3 * way.seconds for kind, way in ways.items()}, "estimated"))


def _transformed(layer: str, geometry: Geometry, ways: Ways) -> _Choice:
    fitting: dict[Kind, Estimate] = {kind: way for kind, way in ways.items() if kind is not None}
    if not fitting:
        return _Choice(None, "no transform computes it")
    return _estimated(layer, geometry, fitting)


def _measured(stopwatch: Stopwatch) -> Rule:
    def rule(layer: str, geometry: Geometry, ways: Ways) -> _Choice:
        del layer
        ms = stopwatch.times(geometry, tuple(ways))
        kind, reason = _best(ms, "measured")
        return _Choice(kind, reason, ms[kind])

    return rule


# -- a saved choice


def _rows(document: object) -> Iterator[Mapping[str, Any]]:
    """All rows of algorithms in a document, however deep they stand."""
    if isinstance(document, list):
        for item in document:
            yield from _rows(item)
    elif isinstance(document, dict):
        if {"layer", "geometry", "algorithm"} <= document.keys():
            yield document
        for item in document.values():
            yield from _rows(item)


def _saved(path: Path) -> Rule:
    """Repeat the choices in a file.

    Raises:
        InputError: it cannot be read, or holds none.
    """
    try:
        rows = list(_rows(json.loads(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError) as error:
        raise InputError(f"--algorithm {path}: {error}; `mlcnn bench --json` writes one") from error
    if not rows:
        raise InputError(
            f"--algorithm {path}: it holds no algorithms of layers; `mlcnn bench --engine native "
            "--json` writes them"
        )
    kinds = {_shown(kind): kind for kind in (None, *Winograd)}
    found = {row["geometry"]: kinds.get(row["algorithm"]) for row in rows}
    by_layer = {row["layer"]: row["geometry"] for row in rows}

    def rule(layer: str, geometry: Geometry, ways: Ways) -> _Choice:
        kind = found.get(geometry.shown)
        if geometry.shown not in found or kind not in ways:
            there = by_layer.get(layer)
            other = "there is no such layer" if there is None else f"there it is {there}"
            raise InputError(
                f"--algorithm {path}: it is another network's or batch's: layer {layer!r} is "
                f"{geometry.shown} here, and {other}; choose anew with --algorithm measured"
            )
        return _Choice(kind, f"as in {path.name}")

    return rule
