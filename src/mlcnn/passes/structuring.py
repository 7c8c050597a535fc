"""What passes share that give the weights of layers a structure: which layers take it.

A structure costs accuracy. Where none of its forms is faster than the layer as it is, it is paid
for a smaller file alone; whether that is wanted, the user says.
"""

import abc
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

import onnx_ir as ir

from mlcnn.passes.base import Pass, PassResult
from mlcnn.passes.choice import KEEP, Chooser, CostModel
from mlcnn.passes.choose import Choose
from mlcnn.passes.lowering import AUTO
from mlcnn.passes.restoring import restore
from mlcnn.passes.skeleton import explained

__all__ = ["Layers", "Structuring"]


class Layers(StrEnum):
    """Which layers take a structure, of those that can."""

    AUTO = "auto"
    ALL = "all"
    FASTER = "faster"


@dataclass(frozen=True, slots=True, kw_only=True)
class Structuring(abc.ABC):
    """A pass that gives the weights of layers a structure, which a method's operator computes.

    Attributes:
        layers: ``all`` that can take it; those alone that a form makes ``faster`` than they are;
            ``auto`` is ``faster`` where a ``choose`` behind it picks the forms, otherwise ``all``.
        only: layer names; touch only these layers.
        exclude: layer names; leave these layers alone.
        chooser: what ``faster`` asks.
    """

    layers: Layers = Layers.AUTO
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    chooser: Chooser = field(default_factory=CostModel, compare=False, repr=False)

    @abc.abstractmethod
    def structure(self, model: ir.Model) -> PassResult:
        """Give every layer the structure that can take it and is not excluded.

        Args:
            model: the network, structured layers as their operators; never changed.

        Returns:
            Changes that name their layer and the value that it gives, before and after.
        """

    def apply(self, model: ir.Model) -> PassResult:
        """Return the network with the structure, where it is wanted."""
        model = restore(model, lowered=True)
        tried = self.structure(model)
        slower = self._slower(model, tried) if self.undecided else {}
        if not slower:
            return tried
        # Anew, because what is searched over all layers depends on which take part.
        return explained(self._without(slower).structure(model), slower)

    @property
    def undecided(self) -> bool:
        """Whether the chooser will say which layers take the structure."""
        return self.layers == Layers.FASTER

    def foresee(self, following: Sequence[Pass]) -> Self:
        """The same pass, decided whether a form is chosen behind it."""
        behind = next((item for item in following if isinstance(item, Choose)), None)
        if self.layers != Layers.AUTO or behind is None or behind.form != AUTO or behind.forms:
            return self
        return replace(self, layers=Layers.FASTER, chooser=behind.chooser)

    def replay(self, result: PassResult) -> Self:
        """The same pass with what would not gain among its exclusions."""
        if not self.undecided:
            return self
        return self._without([s.node for s in result.skipped if s.reason.startswith(_STAYS)])

    def _without(self, layers: Sequence[str] | dict[str, str]) -> Self:
        exclude = tuple(dict.fromkeys((*self.exclude, *layers)))
        return replace(self, layers=Layers.ALL, exclude=exclude)

    def _slower(self, model: ir.Model, tried: PassResult) -> dict[str, str]:
        """Why layers stay as they are that no form of the structure makes faster."""
        choose, found = Choose(chooser=self.chooser), dict[str, str]()
        for change in tried.changes:
            choice = choose.against(model, tried.model, change.outputs[0])
            if choice is not None and choice.form == KEEP:
                found[change.nodes[0]] = f"{_STAYS}{choice.reason}"
        return found


_STAYS = "stays as it is, since it would not gain: "
