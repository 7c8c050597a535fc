"""What a pass is: a frozen dataclass whose fields are its options."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

import onnx_ir as ir

__all__ = [
    "Change",
    "Foreseeing",
    "Gradual",
    "Pass",
    "PassResult",
    "Replayed",
    "Single",
    "Sized",
    "Skipped",
]


@dataclass(frozen=True, slots=True)
class Change:
    """One rewritten site.

    Attributes:
        pass_name: the pass that made it.
        nodes: layer names of the nodes that it replaced, in order.
        exact: whether the output is the same in inference.
        form: the form chosen (``box``, ``expanded``, ``pool-first``, ``matvec``), if there was
            a choice.
        inputs: names of the site's input values; they exist before and after.
        outputs: names of the site's output values; they exist before and after.
        reason: why this form was chosen, if there was a choice.
        deviation: the most by which the outputs of an exact change may differ, because values of a
            quantised network are rounded elsewhere; as long as no quantiser cuts a value off.
        kept: share of the energy (sum of squares) of the layer's weights that is left, where they
            were replaced by the nearest ones of a structure and not trained since; else None.
    """

    pass_name: str
    nodes: tuple[str, ...]
    exact: bool
    form: str | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    reason: str = ""
    deviation: float = 0.0
    kept: float | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """One site that was left alone, and why."""

    pass_name: str
    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class PassResult:
    """A rewritten model; ``changes`` and ``skipped`` account for every site looked at."""

    model: ir.Model
    changes: tuple[Change, ...] = field(default=())
    skipped: tuple[Skipped, ...] = field(default=())


@runtime_checkable
class Pass(Protocol):
    """A rewrite of a network. Implementations are frozen dataclasses; fields are options."""

    name: ClassVar[str]
    exact: ClassVar[bool]

    def apply(self, model: ir.Model) -> PassResult:
        """Return the rewritten network; never change ``model``."""
        ...


@runtime_checkable
class Replayed(Protocol):
    """A pass that makes choices, and can write them down."""

    def replay(self, result: PassResult) -> Pass:
        """The same pass with the choices of ``result`` among its options."""
        ...


@runtime_checkable
class Foreseeing(Protocol):
    """A pass whose work depends on what runs behind it."""

    @property
    def undecided(self) -> bool:
        """Whether a chooser will say where it does its work, once it has foreseen."""
        ...

    def foresee(self, following: Sequence[Pass]) -> Pass:
        """The same pass, knowing the rest of the pipeline."""
        ...


@runtime_checkable
class Single(Protocol):
    """A pass that can make one change again, on the part of the network that it was made in."""

    def single(self, change: Change) -> Pass:
        """The same pass for the one change, with the choice that was made."""
        ...


@runtime_checkable
class Gradual(Protocol):
    """A pass that a network loses less by in steps, trained after each."""

    def training_steps(self) -> Sequence[Pass]:
        """What is applied one after the other; after the last, all that was asked for is done."""
        ...


@runtime_checkable
class Sized(Protocol):
    """A pass that gives each layer a size, which can be chosen layer by layer."""

    def sizes(self, model: ir.Model) -> Mapping[str, tuple[int, ...]]:
        """The sizes above 1 that each layer can have, in order; a layer is named by its node."""
        ...

    def sized(self, chosen: Mapping[str, int]) -> Pass:
        """The same pass with these sizes, and every other layer as it is."""
        ...
