"""Constraints of both forms as rules."""

from collections.abc import Iterator, Mapping, Sequence

from mlcnn.codesign.architecture import Operand
from mlcnn.codesign.constraints import Constraints, FactorRule, KeepRule, OrderRule, Rule
from mlcnn.codesign.timeloop.document import Node
from mlcnn.codesign.timeloop.loops import Permutation, factors_of, permutation_of
from mlcnn.codesign.timeloop.machine import Machine, Target
from mlcnn.codesign.timeloop.mapping import (
    KEEP_TYPES,
    check_directive,
    check_reuse,
    keep_of,
    split_of,
)
from mlcnn.codesign.timeloop.problem import VERSIONS, Problem
from mlcnn.codesign.timeloop.stages import Stage
from mlcnn.errors import UnsupportedError

__all__ = ["kept", "read_constraints"]

_TYPES = ("temporal", "spatial", *KEEP_TYPES)
_FACTORS = ("factors", "permutation", "split", "default_max_factor", "default_min_factor",
            "factors_only", "no_iteration_over_dataspaces")  # fmt: skip
_KEEP = ("keep", "bypass", "keep_only")
_KEYS = ("target", "type", *_FACTORS, *_KEEP)
_INSIDE = {
    "temporal": _FACTORS,
    "spatial": _FACTORS,
    "dataspace": _KEEP,
}
_NOT_READ = ("no_reuse", "no_link_transfer", "rmw_first_update", "no_coalesce")


def read_constraints(nodes: Sequence[Node], machine: Machine, problem: Problem) -> Constraints:
    """Constraints: those of files, those that stand in the architecture, and what its names imply.

    Args:
        nodes: what stands behind ``architecture_constraints``, ``mapspace_constraints`` and such.
        machine: what their names mean.
        problem: what is mapped.

    Raises:
        InputError: they are not of this form.
        UnsupportedError: they have parts that mappings cannot be held to here.
    """
    rules: list[Rule] = []
    for name, node in machine.constraints:
        rules += _inside(name, node, machine, problem)
    for node in nodes:
        for item in _items(node):
            table = check_directive(item, _KEYS, _TYPES)
            target = machine.target(table["target"])
            kind = "dataspace" if table["type"].text() in KEEP_TYPES else table["type"].text()
            name = table["target"].text()
            rules += _rules(item, name, target, kind, table=table, problem=problem)
    rules += _implied(machine, problem)
    return Constraints(problem.nest.dims, problem.nest.sizes, tuple(rules))


def _items(node: Node) -> list[Node]:
    if isinstance(node.value, Mapping):
        table = node.table(("version", "targets"))
        if "version" in table:
            table["version"].version(VERSIONS)
        return table["targets"].items() if "targets" in table else []
    return node.items()


def _inside(name: str, node: Node, machine: Machine, problem: Problem) -> Iterator[Rule]:
    """The constraints of one component of the form with nodes."""
    for kind, part in node.table(tuple(_INSIDE)).items():
        if not part.value:
            continue
        table = part.table((*_INSIDE[kind], *_NOT_READ))
        check_reuse(table)
        yield from _rules(part, name, machine.targets[name], kind, table=table, problem=problem)


def kept(stage: Stage, problem: Problem) -> tuple[Operand, ...]:
    """Operands that a storage may keep, by the constraints that stand with it.

    Args:
        stage: the storage.
        problem: with the names of the data spaces.
    """
    own = {} if stage.constraints is None else _kept_inside(stage.constraints, problem)
    branch: set[Operand] = set(Operand)
    if stage.branch is not None:
        found = (_kept_inside(node, problem) for node in stage.branch)
        branch = {operand for one in found for operand, keep in one.items() if keep}
    return tuple(one for one in Operand if one in branch and own.get(one, True))


def _kept_inside(node: Node, problem: Problem) -> dict[Operand, bool]:
    table = node.table(tuple(_INSIDE)) if node.value else {}
    if "dataspace" not in table or not table["dataspace"].value:
        return {}
    return _kept(table["dataspace"].table((*_KEEP, *_NOT_READ)), problem)


def _kept(table: Mapping[str, Node], problem: Problem) -> dict[Operand, bool]:
    result = keep_of(table, problem)
    if "keep_only" in table:
        only = {problem.operand(one) for one in table["keep_only"].items()}
        result |= {operand: operand in only for operand in Operand}
    return result


def _rules(
    item: Node,
    name: str,
    target: Target,
    kind: str,
    *,
    table: Mapping[str, Node],
    problem: Problem,
) -> Iterator[Rule]:
    where = f"{item.path}:{item.line} ({name})"
    if kind == "dataspace":
        for operand, keep in _kept(table, problem).items():
            if target.level is None:
                raise item.wrong(f"{name!r} only spreads over instances and holds nothing")
            if target.level > 0:
                yield KeepRule(where, target.level, operand, keep)
            elif not keep:
                raise item.wrong(f"{name!r} is the outermost level and keeps everything")
        return
    order = _order(table, problem)
    if kind == "spatial":
        yield from _spatial(where, item, target, table=table, order=order, problem=problem)
        return
    if target.level is None:
        raise item.wrong(f"{name!r} only spreads over instances; its loops are spatial")
    for dim, factor in _factors(table, problem).items():
        yield FactorRule(where, target.level, False, dim, *factor)
    if order.inner or order.outer:
        yield OrderRule(where, target.level, order.inner, order.outer)


_Bounds = tuple[int | None, int, int | None]


def _order(table: Mapping[str, Node], problem: Problem) -> Permutation:
    if "permutation" not in table:
        return Permutation()
    return permutation_of(table["permutation"], problem.nest.dims)


def _factors(table: Mapping[str, Node], problem: Problem) -> dict[str, _Bounds]:
    """Exact factor, least and most of each dimension of which something is said."""
    nest = problem.nest
    result: dict[str, _Bounds] = {}
    for key in ("factors", "factors_only"):
        for one in factors_of(table[key], nest.dims) if key in table else ():
            exact, least, most = result.get(one.dim, (None, 1, None))
            bounds = [bound for bound in (most, one.most) if bound is not None]
            exact = one.exact if one.exact is not None else exact
            # As in Timeloop: a factor beyond the dimension is no constraint.
            if exact is not None and exact > nest.size(one.dim):
                continue
            result[one.dim] = exact, max(least, one.least), min(bounds) if bounds else None
    if "factors_only" in table:
        result |= {dim: (1, 1, None) for dim in nest.dims if dim not in result}
    if "no_iteration_over_dataspaces" in table:
        operands = tuple(Operand)
        for one in table["no_iteration_over_dataspaces"].items():
            relevant = nest.operands[operands.index(problem.operand(one))].dims
            result |= {dim: (1, 1, None) for dim in nest.dims if dim in relevant}
    least = table["default_min_factor"].whole() if "default_min_factor" in table else 1
    if "default_max_factor" in table:
        most = table["default_max_factor"].whole()
        for dim in nest.dims:
            exact, low, high = result.get(dim, (None, 1, None))
            if exact is None and high is None:
                result[dim] = None, low, most
    if least > 1:
        raise UnsupportedError(
            f"{table['default_min_factor'].where}: a least factor of every dimension is not read"
        )
    return result


def _spatial(
    where: str,
    item: Node,
    target: Target,
    *,
    table: Mapping[str, Node],
    order: Permutation,
    problem: Problem,
) -> Iterator[Rule]:
    """Rules of instances side by side; with a split, of each axis by itself."""
    factors = _factors(table, problem)
    dims = problem.nest.dims
    both = target.x is not None and target.y is not None
    if both and "split" not in table:
        raise UnsupportedError(
            f"{item.where}: {item.place}: two axes need a split that says which dimensions stand "
            "along the first"
        )
    first = split_of(table, order, dims, target)
    for place, chosen in ((target.x, set(first)), (target.y, set(dims) - set(first))):
        if place is None:
            for dim in chosen:
                exact = factors.get(dim, (None, 1, None))[0]
                if exact is not None and exact > 1:
                    raise item.wrong(f"{dim}={exact}: there are no instances along its axis")
            continue
        for dim in dims:
            if dim not in chosen:
                yield FactorRule(f"{where} split", place, True, dim, 1)
            elif dim in factors:
                yield FactorRule(where, place, True, dim, *factors[dim])


def _implied(machine: Machine, problem: Problem) -> Iterator[Rule]:
    """Levels that no name means hold no loops in turn: Timeloop has none there."""
    named = {target.level for target in machine.targets.values()}
    for number, level in enumerate(machine.architecture.levels):
        if number not in named:
            for dim in problem.nest.dims:
                where = f"{machine.architecture.name} ({level.name})"
                yield FactorRule(where, number, False, dim, 1)
