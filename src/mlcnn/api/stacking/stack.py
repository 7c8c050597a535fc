"""Steps one after the other, as text that replays: ``average-pools,channels{share=0.5},int8``."""

import fcntl
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import onnx_ir as ir

from mlcnn import graph
from mlcnn.api.stacking.kind import Kind
from mlcnn.api.stacking.kinds import KINDS
from mlcnn.api.stacking.lab import Lab
from mlcnn.errors import InputError, did_you_mean
from mlcnn.frontier.stacks import require_order
from mlcnn.passes.language import split

__all__ = ["Stack", "Step", "grow", "run"]


@dataclass(frozen=True, slots=True)
class Step:
    """A method and what it leaves open.

    Attributes:
        kind: the method.
        values: of all that it leaves open, by name.
    """

    kind: Kind
    values: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def text(self) -> str:
        """As ``Stack.parse`` reads it, every value said."""
        given = ",".join(f"{name}={value:g}" for name, value in self.values.items())
        return f"{self.kind.name}{{{given}}}" if given else self.kind.name


@dataclass(frozen=True, slots=True)
class Stack:
    """Steps in order.

    Attributes:
        steps: the first one first.
    """

    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        require_order(step.kind for step in self.steps)

    @classmethod
    def parse(cls, text: str) -> "Stack":
        """The stack of a text.

        Args:
            text: names of ``KINDS`` with values in braces, between commas.

        Raises:
            InputError: an unknown name or value, one out of its range, or steps that do not go
                together or stand in another order than they go.

        Example:
            >>> Stack.parse("channels{share=0.25},int8").text
            'channels{share=0.25},int8'
        """
        steps = tuple(_step(name, given) for name, given in split(text, "--steps"))
        if not steps:
            raise InputError(f"--steps: no step is given; known: {', '.join(KINDS)}")
        return cls(steps)

    @property
    def text(self) -> str:
        """As ``parse`` reads it."""
        return ",".join(step.text for step in self.steps)

    @property
    def parts(self) -> Iterator["Stack"]:
        """The stacks of its first steps: of one, of two, and so on."""
        return (Stack(self.steps[:count]) for count in range(1, len(self.steps) + 1))


def _step(name: str, given: str) -> Step:
    kind = KINDS.get(name)
    if kind is None:
        hint = did_you_mean(name, KINDS)
        raise InputError(f"--steps: unknown method {name!r}{hint}; known: {', '.join(KINDS)}")
    values = dict(kind.values)
    for item in filter(None, (part.strip() for part in given.split(","))):
        key, _, number = item.partition("=")
        if key not in values:
            known = ", ".join(values) or "none"
            raise InputError(
                f"--steps: {name} has no value {key!r}{did_you_mean(key, values)}; its values: "
                f"{known}"
            )
        try:
            value = float(number)
        except ValueError:
            value = float("nan")
        if not kind.least[key] <= value <= kind.most[key]:
            raise InputError(
                f"--steps: {name}: {key}={number}: a number from {kind.least[key]:g} to "
                f"{kind.most[key]:g} is required"
            )
        values[key] = value
    return Step(kind, values)


def grow(stack: Stack, lab: Lab, folder: Path | None = None) -> Iterator[tuple[Stack, ir.Model]]:
    """What each step of a stack makes of the original, one after the other.

    Args:
        stack: the steps.
        lab: the original, images, and how networks are trained.
        folder: where what each step came to is kept, and found again by another stack that begins
            with the same steps, on the same images and by the same recipe; None for nowhere.
            Several processes may share it.

    Yields:
        The steps so far, and the network.

    Raises:
        InputError: a step finds nothing to do, or the images do not allow it.
    """
    model = lab.original
    for part in stack.parts:
        step = part.steps[-1]
        if folder is None:
            model = _applied(step, model, lab, None)
        else:
            kept = folder / f"{lab.key(part.text)}.onnx"
            _keep(step, model, lab, kept)
            model = graph.load_file(kept)  # in any case: what follows is the same the next time
        yield part, model


def _keep(step: Step, model: ir.Model, lab: Lab, kept: Path) -> None:
    """See that there is a file of what a step comes to, whole or not at all."""
    if kept.exists():
        return
    if not step.kind.trains:
        graph.save(_applied(step, model, lab, None), kept)
        return
    place = kept.with_suffix("")
    place.mkdir(parents=True, exist_ok=True)
    with _alone(place):
        if not kept.exists():
            graph.save(_applied(step, model, lab, place), kept)


@contextmanager
def _alone(place: Path) -> Generator[None]:
    """Wait while another process trains the same there: what it comes to is found then."""
    held = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)  # the system lets go of it when the process ends
        yield
    finally:
        os.close(held)


def _applied(step: Step, model: ir.Model, lab: Lab, place: Path | None) -> ir.Model:
    lab.say(f"{step.text}: {step.kind.summary}")
    return step.kind.apply(model, step.values, lab, place)


def run(stack: Stack, lab: Lab, folder: Path | None = None) -> ir.Model:
    """The network that a stack makes of the original; see ``grow``."""
    made = [lab.original, *(model for _, model in grow(stack, lab, folder))]
    return made[-1]
