"""What mappings may be: rules on factors, orders and what levels keep, each with its source."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.architecture import Operand
from mlcnn.codesign.batch import Batch
from mlcnn.errors import InfeasibleError, InputError
from mlcnn.workload import LoopNest

__all__ = [
    "Allowed",
    "Constraints",
    "FactorRule",
    "KeepRule",
    "OrderRule",
    "Rule",
    "binding_rules",
    "excluded",
]

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class FactorRule:
    """A rule on the iterations of one dimension at one place.

    Attributes:
        where: file and line, or another source.
        level: number of the level, outermost 0.
        spatial: whether it is on instances side by side, else on iterations in turn.
        dim: the dimension.
        exact: iterations; 0 for the remainder, what the other exact rules of the dimension leave
            of it; None where only bounds are given.
        least: iterations at least.
        most: iterations at most; None for no bound.
    """

    where: str
    level: int
    spatial: bool
    dim: str
    exact: int | None = None
    least: int = 1
    most: int | None = None

    def text(self) -> str:
        """What it says, in a few words."""
        kind = "spatial" if self.spatial else "temporal"
        parts = [] if self.exact is None else [f"{self.dim}={self.exact}"]
        parts += [f"{self.dim}>={self.least}"] if self.least > 1 else []
        parts += [] if self.most is None else [f"{self.dim}<={self.most}"]
        return f"{kind} {' '.join(parts)} at level {self.level}"


@dataclass(frozen=True, slots=True)
class OrderRule:
    """A rule on the order of the temporal loops of one level.

    Attributes:
        where: file and line, or another source.
        level: number of the level.
        inner: dimensions from the innermost outwards; those not named stand outside them.
        outer: dimensions outside those that are not named, from the innermost outwards.
    """

    where: str
    level: int
    inner: tuple[str, ...]
    outer: tuple[str, ...] = ()

    def text(self) -> str:
        """What it says, in a few words."""
        order = "".join(self.inner) + (f"_{''.join(self.outer)}" if self.outer else "")
        return f"permutation {order} at level {self.level}"

    def allows(self, order: Sequence[str]) -> bool:
        """Whether loops, outermost first and each of more than one iteration, are in this order.

        Example:
            >>> rule = OrderRule("here", 0, ("R", "P"))
            >>> rule.allows("KPR"), rule.allows("PR"), rule.allows("PKR")
            (True, True, False)
        """
        rank = {dim: number for number, dim in enumerate((*self.inner[::-1], *self.outer[::-1]))}
        # Outer ones come first, then those that are not named, then inner ones.
        places = [
            (0 if dim in self.outer else 2 if dim in self.inner else 1, rank.get(dim, 0))
            for dim in order
        ]
        return places == sorted(places)


@dataclass(frozen=True, slots=True)
class KeepRule:
    """A rule on whether a level keeps an operand.

    Attributes:
        where: file and line, or another source.
        level: number of the level.
        operand: of which it is said.
        keep: whether it is kept; else it passes by.
    """

    where: str
    level: int
    operand: Operand
    keep: bool

    def text(self) -> str:
        """What it says, in a few words."""
        return f"{'keep' if self.keep else 'bypass'} {self.operand} at level {self.level}"


Rule = FactorRule | OrderRule | KeepRule


@dataclass(frozen=True, slots=True)
class Allowed:
    """Factors that may stand at one place.

    Attributes:
        exact: the only one; 0 where none may; None for any within the bounds.
        least: iterations at least.
        most: iterations at most; None for no bound.
    """

    exact: int | None = None
    least: int = 1
    most: int | None = None

    def __call__(self, factor: int) -> bool:
        """Whether a factor may stand here."""
        if self.exact is not None and factor != self.exact:
            return False
        return self.least <= factor and (self.most is None or factor <= self.most)

    def among(self, factors: NDArray[np.int64] | NDArray[np.float64]) -> Mask:
        """Which of some factors may stand here."""
        result = factors >= self.least
        if self.exact is not None:
            result &= factors == self.exact
        if self.most is not None:
            result &= factors <= self.most
        return result


@dataclass(frozen=True, slots=True)
class Constraints:
    """Rules that mappings of one nest must keep to.

    Attributes:
        dims: dimensions of the nest.
        sizes: iterations of each.
        rules: what must hold, all of it.
    """

    dims: tuple[str, ...]
    sizes: tuple[int, ...]
    rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        for rule in self.rules:
            named = (rule.dim,) if isinstance(rule, FactorRule) else ()
            named = (*rule.inner, *rule.outer) if isinstance(rule, OrderRule) else named
            for dim in named:
                if dim not in self.dims:
                    raise InputError(
                        f"{rule.where}: {rule.text()}: {dim} is no dimension of the nest, which "
                        f"has {' '.join(self.dims)}"
                    )

    @classmethod
    def none(cls, nest: LoopNest) -> "Constraints":
        """No rules for the mappings of a nest."""
        return cls(nest.dims, nest.sizes)

    def without(self, rule: Rule) -> "Constraints":
        """The same without one of the rules."""
        rules = tuple(one for one in self.rules if one is not rule)
        return Constraints(self.dims, self.sizes, rules)

    def keep_allowed(self, mask: Mask) -> bool:
        """Whether levels may keep these operands.

        Args:
            mask: of shape (levels, operands).
        """
        operands = tuple(Operand)
        return all(
            bool(mask[rule.level, operands.index(rule.operand)]) == rule.keep
            for rule in self.rules
            if isinstance(rule, KeepRule)
        )

    def factors_allowed(self, level: int, dim: str, *, spatial: bool) -> Allowed:
        """Which factors of a dimension may stand at a level.

        Args:
            level: its number.
            dim: the dimension.
            spatial: side by side, else in turn.
        """
        result = Allowed()
        for rule in self._factor_rules(dim):
            if (rule.level, rule.spatial) == (level, spatial):
                result = _both(result, self._resolved(rule))
        return result

    def order_allowed(self, level: int, order: Sequence[str]) -> bool:
        """Whether the temporal loops of a level may stand in an order.

        Args:
            level: its number.
            order: dimensions of the loops of more than one iteration, outermost first.
        """
        return all(
            rule.allows(order)
            for rule in self.rules
            if isinstance(rule, OrderRule) and rule.level == level
        )

    def allows(self, batch: Batch) -> Mask:
        """Which mappings keep to all rules: the reference.

        Args:
            batch: the mappings.

        Returns:
            Shape (mappings,).
        """
        result = np.full(len(batch), self.keep_allowed(batch.keep))
        places = {(rule.level, rule.dim, rule.spatial) for rule in self._factor_rules()}
        for level, dim, spatial in places:
            allowed = self.factors_allowed(level, dim, spatial=spatial)
            array = batch.spatial if spatial else batch.temporal
            result &= allowed.among(array[level, batch.dims.index(dim)])
        for level in {rule.level for rule in self.rules if isinstance(rule, OrderRule)}:
            for number in np.flatnonzero(result):
                order = [
                    batch.dims[dim]
                    for dim in batch.order[level, :, number]
                    if batch.temporal[level, dim, number] > 1
                ]
                result[number] = self.order_allowed(level, order)
        return result

    def orders(self, level: int) -> bool:
        """Whether the order of a level's loops has a rule."""
        return any(isinstance(rule, OrderRule) and rule.level == level for rule in self.rules)

    def _factor_rules(self, dim: str | None = None) -> Iterator[FactorRule]:
        for rule in self.rules:
            if isinstance(rule, FactorRule) and dim in (None, rule.dim):
                yield rule

    def _resolved(self, rule: FactorRule) -> Allowed:
        """What a rule allows, the remainder as a number."""
        if rule.exact != 0:
            return Allowed(rule.exact, rule.least, rule.most)
        size = self.sizes[self.dims.index(rule.dim)]
        others = {
            (one.level, one.spatial): one.exact
            for one in self._factor_rules(rule.dim)
            if one.exact and (one.level, one.spatial) != (rule.level, rule.spatial)
        }
        rest = Fraction(size, prod(others.values()))
        return Allowed(int(rest) if rest.denominator == 1 else 0, rule.least, rule.most)


def _both(one: Allowed, other: Allowed) -> Allowed:
    """What both allow."""
    exact = one.exact if other.exact is None else other.exact
    if one.exact is not None and other.exact is not None and one.exact != other.exact:
        exact = 0
    bounds = [bound for bound in (one.most, other.most) if bound is not None]
    return Allowed(exact, max(one.least, other.least), min(bounds) if bounds else None)


def binding_rules(
    constraints: Constraints, feasible: Callable[[Constraints], bool]
) -> tuple[Rule, ...]:
    """Rules without one of which there is a mapping, found by leaving out one at a time.

    Where no single rule will do, rules are left out one after the other as long as nothing becomes
    feasible: what remains excludes everything by itself, and no part of it does.

    Args:
        constraints: that exclude everything.
        feasible: whether there is a mapping under constraints.

    Returns:
        Each of the rules whose leaving out alone helps; else a set that excludes everything by
        itself and none of whose rules can be spared for that.

    Raises:
        InfeasibleError: nothing is feasible without any rule either.
    """
    alone = tuple(rule for rule in constraints.rules if feasible(constraints.without(rule)))
    if alone:
        return alone
    if not feasible(Constraints(constraints.dims, constraints.sizes)):
        raise InfeasibleError(
            "no mapping is feasible without any of the constraints either; the machine does not "
            "take the layer"
        )
    core = constraints
    for rule in constraints.rules:
        fewer = core.without(rule)
        if not feasible(fewer):
            core = fewer
    return core.rules


def excluded(rules: Sequence[Rule]) -> InfeasibleError:
    """The error that names the rules that exclude every mapping.

    Args:
        rules: that bind, of ``binding_rules``.
    """
    shown = "; ".join(f"{rule.where}: {rule.text()}" for rule in rules)
    what = "leave it out or widen it" if len(rules) == 1 else "leave out or widen one of them"
    return InfeasibleError(f"the constraints exclude every mapping; what binds: {shown}; {what}")
