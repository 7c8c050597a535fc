"""What is chosen for a convolution, and from what."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mlcnn.engines.native.estimate import Estimate
from mlcnn.engines.native.geometry import Geometry
from mlcnn.engines.native.kinds import Kind, is_plain, shown
from mlcnn.workload import Numbers

__all__ = ["Asked", "Choice", "Layer", "Rule", "fastest"]

_WORTH = 1.02  # times as fast as an algorithm with fewer weights


@dataclass(frozen=True, slots=True)
class Asked:
    """A convolution for which an algorithm is asked.

    Attributes:
        name: of the layer.
        geometry: what it computes.
        bits: of its weights and inputs.
        declined: why it is not computed in its codes, or not in few bits, if quantisers stand
            around it; else empty.
    """

    name: str
    geometry: Geometry
    bits: Numbers = field(default_factory=Numbers)
    declined: str = ""


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution, before its algorithm is chosen.

    Attributes:
        asked: what is asked.
        ways: what it should take by each algorithm that computes it, those with the fewest weights
            first.
    """

    asked: Asked
    ways: Mapping[Kind, Estimate]

    @property
    def name(self) -> str:
        """Of the layer."""
        return self.asked.name

    @property
    def geometry(self) -> Geometry:
        """What it computes."""
        return self.asked.geometry

    @property
    def plain(self) -> Kind:
        """The algorithm that computes every product."""
        return next(kind for kind in self.ways if is_plain(kind))


@dataclass(frozen=True, slots=True)
class Choice:
    """An algorithm, and the figures behind it.

    Attributes:
        kind: the algorithm.
        reason: in words.
        ms: time by each algorithm that was asked about.
        measured: whether the times are measured.
    """

    kind: Kind
    reason: str
    ms: Mapping[Kind, float]
    measured: bool = False


Rule = Callable[[Sequence[Layer]], Sequence[Choice]]
"""Chooses for all convolutions of a network."""


def fastest(ms: Mapping[Kind, float], *, measured: bool) -> Choice:
    """The fastest; of those nearly as fast the one with the fewest weights."""
    least = min(ms.values())
    kind = next(kind for kind, spent in ms.items() if spent <= least * _WORTH)
    others = "".join(f"; {shown(k)} {spent:.3g} ms" for k, spent in ms.items() if k is not kind)
    how = "measured" if measured else "estimated"
    return Choice(kind, f"{how} {ms[kind]:.3g} ms{others}", ms, measured)
