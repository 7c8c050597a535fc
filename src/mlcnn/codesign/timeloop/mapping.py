"""Mappings: reading both forms, and writing them."""

from collections.abc import Mapping as Table
from collections.abc import Sequence
from dataclasses import dataclass, field

from mlcnn.codesign.architecture import Operand
from mlcnn.codesign.mapping import LevelLoops, Mapping, check_factors
from mlcnn.codesign.timeloop.document import Node
from mlcnn.codesign.timeloop.loops import Permutation, factors_of, permutation_of
from mlcnn.codesign.timeloop.machine import Machine, Target
from mlcnn.codesign.timeloop.problem import Problem
from mlcnn.errors import InputError, UnsupportedError, did_you_mean

__all__ = ["KEEP_TYPES", "keep_of", "read_mapping", "split_of"]

KEEP_TYPES = ("dataspace", "datatype", "bypass", "bypassing")
_TYPES = ("temporal", "spatial", *KEEP_TYPES)
_KEYS = ("target", "type", "factors", "permutation", "split", "keep", "bypass")
_REUSE = ("no_reuse", "no_multicast_no_reduction", "no_temporal_reuse", "rmw_first_update",
          "no_coalesce")  # fmt: skip
_REFUSED = ("utilization", "parallelism", "max_overbooked_proportion", "skew")
_IGNORED = ("no_link_transfer",)
"""Forwarding between neighbours moves no words of a memory, so it is nothing here."""


@dataclass(slots=True)
class _Loops:
    """What is read of one level so far."""

    factors: dict[str, int] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    spatial: dict[str, int] = field(default_factory=dict)
    keep: dict[Operand, bool] = field(default_factory=dict)


def read_mapping(node: Node, machine: Machine, problem: Problem) -> Mapping:
    """A mapping.

    What it does not say is as in Timeloop: a factor is 1, an operand is kept wherever the level
    takes it, and dimensions that a permutation does not name stand outside.

    Args:
        node: what stands behind the key ``mapping``.
        machine: what its names mean.
        problem: what is mapped.

    Raises:
        InputError: it is not of this form, or its factors do not make up the dimensions.
        UnsupportedError: it has parts that are not scored.
    """
    levels = [_Loops() for _ in machine.architecture.levels]
    rest: list[tuple[Node, dict[str, int], str]] = []
    seen: set[tuple[str, str]] = set()
    for item in node.items():
        table = check_directive(item, _KEYS, _TYPES)
        target, kind = machine.target(table["target"]), table["type"].text()
        name = table["target"].text()
        which = "keep" if kind in KEEP_TYPES else kind
        if (name, which) in seen:
            raise item.wrong(f"{name!r} has two directives of the type {kind}; give one")
        seen.add((name, which))
        if which == "keep":
            level = _level(item, name, target)
            levels[level].keep.update(keep_of(table, problem))
        else:
            found = _directive(item, table, target, kind, levels=levels, problem=problem)
            rest += [(item, found, dim) for dim, factor in found.items() if factor == 0]
    for item, found, dim in rest:
        _fill(item, found, dim, levels, problem)
    result = Mapping(tuple(_loops(one, n, machine, problem) for n, one in enumerate(levels)))
    try:
        check_factors(result, problem.nest)
    except InputError as error:
        raise node.wrong(str(error)) from error
    return result


def check_directive(item: Node, keys: Sequence[str], types: Sequence[str]) -> dict[str, Node]:
    """The keys of a directive or a constraint.

    Raises:
        InputError: one is missing or not known.
        UnsupportedError: it has parts that are not scored.
    """
    kinds = item.table().get("type")
    if kinds is not None and kinds.value in _REFUSED:
        raise UnsupportedError(f"{kinds.where}: {kinds.place}: {kinds.value} is not read")
    table = item.table((*keys, *_REUSE, *_IGNORED))
    for key in ("target", "type"):
        if key not in table:
            raise item.wrong(f"key {key!r} is missing")
    kind = table["type"].text()
    if kind not in types:
        hint = did_you_mean(kind, types, otherwise=f"; known: {', '.join(types)}")
        raise table["type"].wrong(f"type {kind!r} is not read{hint}")
    check_reuse(table)
    return table


def check_reuse(table: Table[str, Node]) -> None:
    """Check that nothing is said of reuse: what is read once is always sent to all here.

    Raises:
        UnsupportedError: something is.
    """
    for key in _REUSE:
        if key in table and table[key].value:
            raise UnsupportedError(
                f"{table[key].where}: {table[key].place}: reuse cannot be switched off here; what "
                "several instances need in one step is read once"
            )


def _level(item: Node, name: str, target: Target) -> int:
    if target.level is None:
        raise item.wrong(f"{name!r} only spreads over instances and holds nothing")
    return target.level


def keep_of(table: Table[str, Node], problem: Problem) -> dict[Operand, bool]:
    """What a level keeps and what bypasses it, as far as it is said.

    Raises:
        InputError: an operand is in both.
    """
    result: dict[Operand, bool] = {}
    for key, keep in (("keep", True), ("bypass", False)):
        for one in table[key].items() if key in table else []:
            operand = problem.operand(one)
            if result.get(operand, keep) != keep:
                raise one.wrong(f"{one.text()!r} is kept and bypasses")
            result[operand] = keep
    return result


def _directive(
    item: Node,
    table: Table[str, Node],
    target: Target,
    kind: str,
    *,
    levels: list[_Loops],
    problem: Problem,
) -> dict[str, int]:
    """Read factors into their level; those of the directive."""
    dims = problem.nest.dims
    factors: dict[str, int] = {}
    for one in factors_of(table["factors"], dims) if "factors" in table else ():
        if one.exact is None:
            raise table["factors"].wrong(f"{one.dim}: a mapping has factors, not bounds of them")
        factors[one.dim] = one.exact
    order = permutation_of(table["permutation"], dims) if "permutation" in table else Permutation()
    name = table["target"].text()
    if kind == "temporal":
        if target.level is None:
            if any(factor != 1 for factor in factors.values()):
                _level(item, name, target)
            return {}
        level = levels[target.level]
        rest = [dim for dim in dims if dim not in (*order.inner, *order.outer)]
        level.factors, level.order = factors, (*order.inner, *rest, *order.outer)
        return factors
    first = split_of(table, order, dims, target)
    for dim, factor in factors.items():
        place = target.x if dim in first else target.y
        if place is not None:
            levels[place].spatial[dim] = factor
        elif factor != 1:
            raise item.wrong(
                f"{name!r} has no instances for {dim}={factor} along the axis "
                f"{'X' if dim in first else 'Y'}"
            )
    return {}


def split_of(
    table: Table[str, Node], order: Permutation, dims: tuple[str, ...], target: Target
) -> tuple[str, ...]:
    """Dimensions that stand along the first axis: as many of the permutation as ``split`` says.

    Without a split all stand along the first axis, or along the only one that there is.
    """
    if "split" not in table:
        return () if target.x is None and target.y is not None else dims
    rest = [dim for dim in dims if dim not in (*order.inner, *order.outer)]
    return (*order.inner, *rest, *order.outer)[: table["split"].whole(least=0)]


def _fill(
    item: Node, found: dict[str, int], dim: str, levels: list[_Loops], problem: Problem
) -> None:
    """A factor of 0: what the other levels leave."""
    size, others = problem.nest.size(dim), 1
    for one in levels:
        for factors in (one.factors, one.spatial):
            others *= factors.get(dim, 1) or 1
    if size % others:
        raise item.wrong(
            f"{dim}=0: the other factors of {dim} are {others} together, and {dim} has {size} "
            f"iterations: the remainder is {size % others}"
        )
    found[dim] = size // others


def _loops(read: _Loops, number: int, machine: Machine, problem: Problem) -> LevelLoops:
    level = machine.architecture.levels[number]
    order = read.order or problem.nest.dims
    temporal = [(dim, read.factors.get(dim, 1)) for dim in reversed(order)]
    spatial = [(dim, read.spatial.get(dim, 1)) for dim in problem.nest.dims]
    keep = tuple(operand for operand in Operand if read.keep.get(operand, operand in level.keeps))
    return LevelLoops(
        tuple(loop for loop in temporal if loop[1] > 1),
        tuple(loop for loop in spatial if loop[1] > 1),
        tuple(Operand) if number == 0 else keep,
    )
