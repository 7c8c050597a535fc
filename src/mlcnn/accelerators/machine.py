"""What a machine is: whatever can say which layers it takes, what they cost and how large it is.

Comparisons, reports and reproductions know nothing else of a machine. A class of one's own is found
by an entry point of the group ``mlcnn.machines`` under the name that stands behind ``type`` in its
files; ``array``, ``fft``, ``in-memory``, ``loop-nest`` and ``sparse`` come with the package.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from mlcnn.accelerators.border import Description
from mlcnn.accelerators.cost import LayerCost, LayerTask, together
from mlcnn.accelerators.precision import Precision
from mlcnn.accelerators.technology import Technology
from mlcnn.errors import InfeasibleError
from mlcnn.workload import DENSE, Arithmetic, ConvLayer, Layer

__all__ = [
    "Infeasible",
    "Machine",
    "MachineType",
    "evaluate_layer",
    "notes_of",
    "plain_parts",
    "precision_of",
    "unknown_layer",
    "unknown_parts",
]


_MEETING = {Arithmetic.COMPARE: "inputs that are compared with each other"}


@dataclass(frozen=True, slots=True)
class Infeasible:
    """Why a machine cannot run a layer, as data.

    Attributes:
        reason: in words: machine, layer, what is wanted, what there is, what to change.
        demand: what the layer asks for.
        bound: what there is of it.
        unit: what both are numbers of.
        levers: what would help: fields of the machine's description, or a way to change the layer.
        unknown: whether the machine knows no such layers, whatever its sizes: the convolutions and
            dense layers that stand for it in the network may run then.
    """

    reason: str
    demand: float
    bound: float
    unit: str
    levers: tuple[str, ...] = ()
    unknown: bool = False

    @property
    def gap(self) -> float:
        """What is missing; 0 where each need could be met by itself, and not all together."""
        return max(self.demand - self.bound, 0.0)

    def __str__(self) -> str:
        return self.reason


@runtime_checkable
class Machine(Protocol):
    """A machine; immutable.

    A ``precision`` beside these is used where there is one, and so are ``notes``: sentences that
    stand below every result of the machine.
    """

    @property
    def name(self) -> str:
        """What results call it."""
        ...

    @property
    def clock_mhz(self) -> float:
        """Clock of its cycles."""
        ...

    def takes(self, layer: Layer) -> Infeasible | None:
        """Why the machine cannot run a layer as what it is; None where it can.

        One that is ``unknown`` here runs as its ``parts``, if the machine takes those.
        """
        ...

    def cost(self, task: LayerTask, technology: Technology) -> LayerCost:
        """What a layer costs in the way that is fastest here.

        Raises:
            InfeasibleError: the machine does not take the layer.
        """
        ...

    def area(self, technology: Technology) -> float:
        """Area in square micrometres; not a number where it is not known.

        Raises:
            InputError: a part of the machine lies outside the tables.
        """
        ...


@runtime_checkable
class MachineType(Protocol):
    """What an entry point of the group ``mlcnn.machines`` names: a class that reads its files."""

    def from_description(self, description: Description) -> Machine:
        """The machine that a file describes.

        Args:
            description: the file, without its ``type``.

        Raises:
            InputError: the file is wrong.
        """
        ...


def unknown_parts(layer: Layer, arithmetic: Collection[Arithmetic]) -> tuple[str, ...]:
    """What a machine of dense weights over two dimensions knows nothing of in a layer, in words.

    Args:
        layer: the layer.
        arithmetic: ways in which weights and inputs meet on the machine.
    """
    wanted: list[str] = []
    if layer.weights != DENSE:
        wanted.append(f"{layer.weights} weights")
    if layer.arithmetic not in arithmetic:
        wanted.append(_MEETING.get(layer.arithmetic, f"weights and inputs that {layer.arithmetic}"))
    if layer.nest.depth is not None:
        wanted.append("three dimensions")
    if not wanted and layer.pool is None and layer.parts not in {(), (layer.nest,)}:
        wanted.append(f"the form {layer.form}")
    return tuple(wanted)


def unknown_layer(machine: str, layer: Layer, wanted: Sequence[str], does: str) -> Infeasible:
    """Why a machine knows no such layers.

    The point-wise layer that stands in the network for one that compares is not all of it: without
    its comparisons it would be another layer, and so such a layer never runs as its parts.

    Args:
        machine: its name.
        layer: the layer.
        wanted: see ``unknown_parts``.
        does: what the machine does.
    """
    what = " and ".join(wanted)
    return Infeasible(
        f"accelerator {machine} cannot run {layer.name} as what it is, a layer with {what}: "
        f"{does}; use a machine that takes it",
        demand=len(wanted), bound=0, unit=what, levers=("type",),
        unknown=layer.arithmetic is not Arithmetic.COMPARE,
    )  # fmt: skip


def precision_of(machine: Machine) -> Precision | None:
    """Format of a machine's weights and activations; None where it names none."""
    found = getattr(machine, "precision", None)
    return found if isinstance(found, Precision) else None


def notes_of(machine: Machine) -> tuple[str, ...]:
    """What a machine says of all its results; nothing for most."""
    return tuple(map(str, getattr(machine, "notes", ())))


def evaluate_layer(task: LayerTask, machine: Machine, technology: Technology) -> LayerCost:
    """Run one layer on a machine, in the way that is fastest there.

    Args:
        task: the layer.
        machine: the machine.
        technology: the tables.

    Raises:
        InfeasibleError: the machine takes neither the layer nor its parts.
    """
    refused = machine.takes(task.layer)
    if refused is None:
        return machine.cost(task, technology)
    parts = plain_parts(task.layer) if refused.unknown else ()
    if not parts:
        raise InfeasibleError(str(refused))
    tasks = [replace(task, layer=part) for part in parts]
    for part in parts:
        if (why := machine.takes(part)) is not None:
            raise InfeasibleError(f"{refused}; nor does it take the parts of it: {why}")
    return together(task.layer.name, [machine.cost(one, technology) for one in tasks])


def plain_parts(layer: Layer) -> tuple[Layer, ...]:
    """The layers that stand in the network for one that a method rewrote, as plain ones."""
    plain = tuple(_plain(nest, layer) for nest in layer.parts)
    # A part that is the layer itself would be refused again, unless less is said of it.
    is_itself = layer.parts == (layer.nest,) and layer.weights == plain[0].weights
    return () if is_itself and layer.arithmetic == plain[0].arithmetic else plain


def _plain(nest: ConvLayer, layer: Layer) -> Layer:
    return Layer(nest, layer.operator, parts=(nest,), numbers=layer.numbers)
