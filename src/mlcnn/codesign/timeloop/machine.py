"""An architecture of Timeloop's as levels, and which level each of its names means."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import cast

from mlcnn.codesign.architecture import Architecture, FanOut, Level, Operand
from mlcnn.codesign.timeloop.document import Node
from mlcnn.codesign.timeloop.levels import actions_of, level_of
from mlcnn.codesign.timeloop.stages import Kind, Stage
from mlcnn.codesign.timeloop.tables import COMPUTE, Actions
from mlcnn.errors import InputError, did_you_mean

__all__ = ["Machine", "Target", "build_machine", "plain_machine"]


@dataclass(frozen=True, slots=True)
class Target:
    """What a name in a mapping or a constraint means.

    Attributes:
        level: the number of the level that holds words; None for a name that only spreads.
        x: the number of the level whose fan-out is its first axis; None where it has none.
        y: the same of its second axis.
    """

    level: int | None
    x: int | None = None
    y: int | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """An architecture and its names.

    Attributes:
        architecture: the levels.
        targets: what each name means.
        inner: whether loops side by side go by the name of the inner component (v4).
        constraints: nodes of constraints inside the architecture, by the name that they are for.
    """

    architecture: Architecture
    targets: Mapping[str, Target]
    inner: bool = False
    constraints: tuple[tuple[str, Node], ...] = ()

    def target(self, node: Node) -> Target:
        """What a name means.

        Raises:
            InputError: there is none of this name.
        """
        name = node.text()
        if name not in self.targets:
            hint = did_you_mean(name, self.targets)
            known = ", ".join(self.targets)
            raise node.wrong(f"{name!r} is no level of the architecture{hint}; known: {known}")
        return self.targets[name]


def plain_machine(architecture: Architecture) -> Machine:
    """A machine that is of no file of Timeloop's: its levels go by their own names."""
    targets = {
        level.name: Target(number, number if level.fan_out.size > 1 else None)
        for number, level in enumerate(architecture.levels)
    }
    return Machine(architecture, targets)


def build_machine(
    node: Node,
    stages: Sequence[Stage],
    keeps: Callable[[Stage], tuple[Operand, ...]],
    energies: Mapping[str, Actions] | None,
    *,
    inner: bool,
) -> Machine:
    """A machine from its stages.

    Args:
        node: where the architecture stands.
        stages: outermost first.
        keeps: operands that a storage may keep.
        energies: by the component's name; None where no table was given.
        inner: whether loops side by side go by the name of the inner component.

    Raises:
        InputError: there is no storage or no arithmetic, or their numbers do not fit.
        UnsupportedError: a component has attributes that are not scored.
    """
    networks = [stage.name for stage in stages if stage.kind is Kind.NETWORK]
    parts = [stage for stage in stages if stage.kind is not Kind.NETWORK]
    if len({(stage.name, stage.kind) for stage in parts}) < len(parts):
        names = [stage.name for stage in parts]
        raise node.wrong(f"two components have one name: {', '.join(names)}")
    if not parts or parts[-1].kind is not Kind.COMPUTE:
        raise node.wrong("its innermost component must be arithmetic, as of the class intmac")
    if parts[0].kind is not Kind.STORAGE:
        raise parts[0].node.wrong(f"{parts[0].name!r} is outside of all storage")
    built = _Built(inner=inner)
    for stage, below in pairwise(parts):
        built.add(stage, _fans(stage, below), keeps, energies)
    mac = actions_of(parts[-1], energies).of(COMPUTE, parts[-1].name)
    source = f"{node.path.name}, energies of its ERT; leakage is not counted"
    if networks:
        source += f"; networks are not counted: {', '.join(networks)}"
    architecture = Architecture(node.path.name.split(".")[0], tuple(built.levels), mac, source)
    inside = tuple(
        (stage.name, stage.constraints) for stage in parts
        if stage.constraints is not None and stage.constraints.value
    )  # fmt: skip
    return Machine(architecture, built.targets, inner, inside)


def _fans(stage: Stage, below: Stage) -> tuple[int, int]:
    """Instances of the next stage below one of this, along both axes."""
    result = [inner // outer for outer, inner in zip(stage.mesh, below.mesh, strict=True)]
    whole = [inner % outer == 0 for outer, inner in zip(stage.mesh, below.mesh, strict=True)]
    if not all(whole):
        shown = [f"{x} x {y}" for x, y in (below.mesh, stage.mesh)]
        raise below.node.wrong(
            f"{below.name!r} has {shown[0]} instances, no multiple of the {shown[1]} of "
            f"{stage.name!r} outside it"
        )
    return cast("tuple[int, int]", tuple(result))


class _Built:
    """Levels so far."""

    def __init__(self, *, inner: bool) -> None:
        self.inner = inner
        self.levels: list[Level] = []
        self.targets: dict[str, Target] = {}

    def add(
        self,
        stage: Stage,
        fans: tuple[int, int],
        keeps: Callable[[Stage], tuple[Operand, ...]],
        energies: Mapping[str, Actions] | None,
    ) -> None:
        """One more stage, with the instances of what lies inside it."""
        if stage.kind is Kind.COMPUTE:
            raise stage.node.wrong(f"arithmetic {stage.name!r} is outside of other components")
        if stage.kind is Kind.FAN:
            # More instances alone need no level of their own where the one outside has one each.
            if self.levels[-1].fan_out.size > 1:
                self.levels.append(Level(_free(stage.name, self.levels), (), 1))
            axes = self._spread(fans)
            self.targets[stage.name] = Target(None, *axes)
            return
        takes = keeps(stage) if stage.kind is Kind.STORAGE else ()
        if not self.levels and len(takes) < len(Operand):
            missing = ", ".join(operand for operand in Operand if operand not in takes)
            raise stage.node.wrong(
                f"the outermost storage {stage.name!r} must keep everything; {missing} bypasses it"
            )
        try:
            self.levels.append(level_of(stage, takes, energies))
        except InputError as error:
            raise (
                error if str(error).startswith("Timeloop file") else stage.node.wrong(str(error))
            ) from error
        number = len(self.levels) - 1
        own = self.targets.get(stage.name) if self.inner else None
        axes = self._spread(fans)
        if self.inner:
            axes = (None, None) if own is None else (own.x, own.y)
        self.targets[stage.name] = Target(number, *axes)

    def _spread(self, fans: tuple[int, int]) -> tuple[int | None, int | None]:
        """Give the last level its fan-out; two axes are two levels."""
        if math.prod(fans) == 1:
            return None, None
        last = len(self.levels) - 1
        if min(fans) == 1:
            self.levels[last] = replace(self.levels[last], fan_out=FanOut(math.prod(fans)))
            return (last, None) if fans[0] > 1 else (None, last)
        self.levels[last] = replace(self.levels[last], fan_out=FanOut(fans[0]))
        name = _free(f"{self.levels[last].name}.y", self.levels)
        self.levels.append(Level(name, (), 1, fan_out=FanOut(fans[1])))
        return last, last + 1


def _free(name: str, levels: Sequence[Level]) -> str:
    taken = {level.name for level in levels}
    return name if name not in taken else _free(f"{name}.fan", levels)
