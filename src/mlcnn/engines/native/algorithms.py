"""Which algorithm computes a convolution, and why."""

from collections.abc import Callable
from dataclasses import dataclass

from mlcnn.engines.native.convolution import Geometry
from mlcnn.engines.native.estimate import Estimate, estimate
from mlcnn.engines.native.library import Library
from mlcnn.engines.native.machine import Machine
from mlcnn.engines.native.measured import Stopwatch
from mlcnn.engines.native.winograd import Winograd
from mlcnn.errors import InputError, did_you_mean

__all__ = ["ALGORITHMS", "Choice", "Chooser", "known_algorithm"]

_WORTH = 1.02  # times as fast as an algorithm with fewer weights


@dataclass(frozen=True, slots=True)
class Choice:
    """The algorithm of one convolution.

    Attributes:
        layer: name of the layer.
        geometry: what it computes.
        kind: the transform; None where every product is computed.
        reason: the figures behind it.
        estimate: what the model says of it.
        ms: its measured time, if it was measured.
    """

    layer: str
    geometry: Geometry
    kind: Winograd | None
    reason: str
    estimate: Estimate
    ms: float | None = None

    @property
    def name(self) -> str:
        """``direct``, or the transform's."""
        return _shown(self.kind)


def _shown(kind: Winograd | None) -> str:
    return "direct" if kind is None else kind.shown


Times = Callable[[Geometry], dict[Winograd | None, float]]
"""Seconds or milliseconds by algorithm, those with the fewest weights first."""


class Chooser:
    """Chooses for each convolution of a network.

    Attributes:
        choices: those made so far.
    """

    def __init__(
        self, algorithm: str, library: Library, machine: Machine, stopwatch: Stopwatch | None
    ) -> None:
        """Choose in one of the ways of ``ALGORITHMS``; ``measured`` needs the stopwatch."""
        self._algorithm, self._library, self._machine = algorithm, library, machine
        self._stopwatch = stopwatch
        self.choices: list[Choice] = []

    def __call__(self, layer: str, geometry: Geometry) -> Winograd | None:
        """The transform that computes the layer; None computes every product."""
        kinds: list[Winograd | None] = [None, *geometry.transforms()]
        estimates = {
            kind: estimate(geometry, kind, self._library.block, self._machine) for kind in kinds
        }
        seconds = {kind: figure.seconds for kind, figure in estimates.items()}
        if self._algorithm == "direct" or len(kinds) == 1:
            kind = None
            reason = "no transform computes it" if len(kinds) == 1 else "asked for"
            choice = Choice(layer, geometry, kind, reason, estimates[kind])
        elif self._algorithm == "measured" and self._stopwatch is not None:
            times = self._stopwatch.times(geometry, kinds)
            kind = _best(times)
            choice = Choice(
                layer, geometry, kind, _told(times, kind, "measured"), estimates[kind], times[kind]
            )
        else:
            if self._algorithm == "winograd":
                del seconds[None]
            kind = _best(seconds)
            reason = _told({k: 1e3 * s for k, s in seconds.items()}, kind, "estimated")
            choice = Choice(layer, geometry, kind, reason, estimates[kind])
        self.choices.append(choice)
        return choice.kind


def _best(times: dict[Winograd | None, float]) -> Winograd | None:
    """The fastest; of those nearly as fast the one with the fewest weights."""
    least = min(times.values())
    return next(kind for kind, spent in times.items() if spent <= least * _WORTH)


def _told(times: dict[Winograd | None, float], kind: Winograd | None, how: str) -> str:
    others = (f"{_shown(k)} {ms:.3g} ms" for k, ms in times.items() if k is not kind)
    return f"{how} {times[kind]:.3g} ms; " + ", ".join(others)


ALGORITHMS = ("auto", "measured", "direct", "winograd")


def known_algorithm(name: str) -> str:
    """A way to choose.

    Raises:
        InputError: there is none of that name.
    """
    if name not in ALGORITHMS:
        hint = did_you_mean(name, ALGORITHMS)
        raise InputError(
            f"unknown algorithm {name!r}{hint} (known algorithms: {', '.join(ALGORITHMS)})"
        )
    return name
