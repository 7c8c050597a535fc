"""What an exploration needs of a network: bounds on many machines, and its price on one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.exploration.evaluation import Evaluation

__all__ = ["Array", "Bounds", "Network"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a network is not below on machines, whatever is chosen there; an entry for each.

    Attributes:
        energy_pj: the least of any choice.
        latency_cycles: likewise; infinite where a layer cannot run.
        likely_energy_pj: a guess, not below the bound.
        likely_latency_cycles: likewise.
    """

    energy_pj: Array
    latency_cycles: Array
    likely_energy_pj: Array
    likely_latency_cycles: Array


class Network(Protocol):
    """A network's layers as the machines of one kind of template run them; it goes to processes."""

    @property
    def digest(self) -> str:
        """Of all that prices depend on, whatever the layers are called."""
        ...

    @property
    def counted(self) -> str:
        """The name of how prices come about: a convention, or tables."""
        ...

    def bounds(self, machines: Sequence[Any]) -> Bounds:
        """What no choice of mappings is below, on many machines at once."""
        ...

    def refusal(self, machine: Any) -> str:
        """Why a machine cannot run a layer; empty where it can, or only a search tells."""
        ...

    def price(
        self, machine: Any, *, like: Sequence[Evaluation] = (), seconds: Callable[[], float]
    ) -> Evaluation:
        """What the network comes to where its energy times latency is least.

        Args:
            machine: it.
            like: what it comes to on machines alike, which may make it sooner found.
            seconds: how many are left.

        Raises:
            Unfinished: there was not time enough.
            InfeasibleError: a layer fits in no way.
        """
        ...
