"""Problems: dimensions, data spaces and their projections, sizes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mlcnn.codesign.architecture import Operand
from mlcnn.codesign.space import accesses
from mlcnn.codesign.timeloop.document import Node
from mlcnn.codesign.timeloop.expression import Number
from mlcnn.errors import InputError, UnsupportedError, did_you_mean
from mlcnn.workload import LoopNest, Projection, Term

__all__ = ["DEFAULT_SPACES", "Problem", "read_problem"]

VERSIONS = ("0.2", "0.3", "0.4")
_PROBLEM = ("version", "shape", "instance", "densities")
_SHAPE = ("name", "dimensions", "data_spaces", "coefficients")
_SPACE = ("name", "projection", "read_write", "ranks")
_EXTRA = ("densities", "H", "W", "Hpad", "Wpad")
"""Keys of an instance that say nothing of the loops."""
_CNN = ("cnn_layer", "cnn", "conv", "conv2d")
_WEIGHT = re.compile(r"weight|filter|kernel", re.IGNORECASE)
_INPUT = re.compile(r"input|ifmap|activation|image", re.IGNORECASE)

DEFAULT_SPACES = {
    Operand.WEIGHT: "Weights",
    Operand.INPUT: "Inputs",
    Operand.OUTPUT: "Outputs",
}
"""Names of the data spaces of a convolution."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem.

    Attributes:
        nest: the loops.
        spaces: the name of each operand's data space.
    """

    nest: LoopNest
    spaces: Mapping[Operand, str]

    def operand(self, node: Node) -> Operand:
        """The operand of a data space.

        Raises:
            InputError: there is none of this name.
        """
        name = node.text()
        for operand, one in self.spaces.items():
            if one == name:
                return operand
        known = tuple(self.spaces.values())
        hint = did_you_mean(name, known)
        raise node.wrong(f"{name!r} is no data space of the problem{hint}; it has "
                         f"{', '.join(known)}")  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Space:
    name: str
    node: Node
    projection: Projection
    written: bool


def read_problem(node: Node, names: Mapping[str, Number]) -> Problem:
    """A problem.

    Args:
        node: what stands behind the key ``problem``.
        names: variables.

    Raises:
        InputError: it is not of this form.
        UnsupportedError: it is of more or other data spaces, or of projections that are not scored.
    """
    table = node.table()
    if "version" in table:
        table["version"].version(VERSIONS)
    if "shape" not in table:
        raise node.wrong("key 'shape' is missing")
    shape = table["shape"]
    inner = table.get("instance")
    if inner is None:
        instance = {key: one for key, one in table.items() if key not in _PROBLEM}
    else:
        node.table(_PROBLEM)
        instance = inner.table()
    where = inner or node
    for dense in (table.get("densities"), instance.get("densities")):
        _check_dense(dense)
    if isinstance(shape.value, str):
        return _cnn(shape, where, instance, names)
    return _general(shape, where, instance, names)


def _check_dense(node: Node | None) -> None:
    if node is not None and node.value:
        raise UnsupportedError(f"{node.where}: {node.place}: data that is sparse is not scored")


def _cnn(
    shape: Node, where: Node, instance: Mapping[str, Node], names: Mapping[str, Number]
) -> Problem:
    """The short form: the shape by name."""
    if shape.text().replace("-", "_").lower().removesuffix(".yaml") not in _CNN:
        raise shape.wrong(f"the shape {shape.text()!r} is not known; give it in full, or cnn-layer")
    dims = ("R", "S", "P", "Q", "C", "K", "N")
    steps = {"Wstride": 1, "Hstride": 1, "Wdilation": 1, "Hdilation": 1}
    sizes, steps = _sizes(where, instance, dims, steps, names)

    def axes(*dims: str) -> tuple[tuple[Term, ...], ...]:
        return tuple((Term(dim),) for dim in dims)

    windows = (
        (Term("P", steps["Wstride"]), Term("R", steps["Wdilation"])),
        (Term("Q", steps["Hstride"]), Term("S", steps["Hdilation"])),
    )
    nest = LoopNest(
        "cnn-layer", dims, tuple(sizes[dim] for dim in dims),
        Projection(axes("C", "K", "R", "S")), Projection((*axes("N", "C"), *windows)),
        Projection(axes("N", "K", "Q", "P")),
    )  # fmt: skip
    return Problem(nest, dict(DEFAULT_SPACES))


def _general(
    shape: Node, where: Node, instance: Mapping[str, Node], names: Mapping[str, Number]
) -> Problem:
    table = shape.table(_SHAPE)
    for key in ("dimensions", "data_spaces"):
        if key not in table:
            raise shape.wrong(f"key {key!r} is missing")
    name = table["name"].text() if "name" in table else "problem"
    dims = _dims(table["dimensions"])
    steps = _coefficients(table.get("coefficients"), names)
    sizes, steps = _sizes(where, instance, dims, steps, names)
    nodes = table["data_spaces"].items()
    spaces = [_space(node, dims, steps) for node in nodes]
    chosen = _operands(table["data_spaces"], spaces)
    output = frozenset(chosen[Operand.OUTPUT].projection.dims)
    projections = [_windowed(chosen[operand], output) for operand in Operand]
    nest = LoopNest(name, dims, tuple(sizes[dim] for dim in dims), *projections)
    _check_scored(nest, chosen)
    return Problem(nest, {operand: space.name for operand, space in chosen.items()})


def _dims(node: Node) -> tuple[str, ...]:
    dims = tuple(item.text() for item in node.items())
    for dim in dims:
        if not re.fullmatch("[A-Z]", dim):
            raise UnsupportedError(
                f"{node.where}: dimension {dim!r}: a dimension is one capital letter here"
            )
        if dims.count(dim) > 1:
            raise node.wrong(f"dimension {dim} stands twice")
    return dims


def _coefficients(node: Node | None, names: Mapping[str, Number]) -> dict[str, int]:
    result: dict[str, int] = {}
    for item in [] if node is None else node.items():
        table = item.table(("name", "default"))
        if "name" not in table:
            raise item.wrong("key 'name' is missing")
        default = table.get("default")
        result[table["name"].text()] = 1 if default is None else default.whole(names)
    return result


def _sizes(
    where: Node,
    instance: Mapping[str, Node],
    dims: tuple[str, ...],
    defaults: Mapping[str, int],
    names: Mapping[str, Number],
) -> tuple[dict[str, int], dict[str, int]]:
    """Sizes of the dimensions, and values of the coefficients."""
    known = (*dims, *defaults)
    for key, value in instance.items():
        if key not in known and key not in _EXTRA:
            hint = did_you_mean(key, known, otherwise=f"; known keys: {', '.join(known)}")
            raise InputError(f"{value.where}: unknown key {value.place!r}{hint}")
    for dim in dims:
        if dim not in instance:
            raise where.wrong(f"the size of dimension {dim!r} is missing")
    sizes = {dim: instance[dim].whole(names) for dim in dims}
    given = {key: instance[key].whole(names) for key in defaults if key in instance}
    return sizes, {**defaults, **given}


def _space(node: Node, dims: tuple[str, ...], steps: Mapping[str, int]) -> _Space:
    table = node.table(_SPACE)
    for key in ("name", "projection"):
        if key not in table:
            raise node.wrong(f"key {key!r} is missing")
    written = "read_write" in table and table["read_write"].truth()
    axes = tuple(_axis(axis, dims, steps) for axis in table["projection"].items())
    return _Space(table["name"].text(), table["projection"], Projection(axes), written)


def _axis(node: Node, dims: tuple[str, ...], steps: Mapping[str, int]) -> tuple[Term, ...]:
    """A sum of terms; a dimension alone stands for itself."""
    if isinstance(node.value, str):
        return (_term(node, [node], dims, steps),)
    return tuple(_term(term, term.items(), dims, steps) for term in node.items())


def _term(node: Node, parts: list[Node], dims: tuple[str, ...], steps: Mapping[str, int]) -> Term:
    if len(parts) not in (1, 2):
        raise node.wrong("a term is a dimension, or a dimension and a coefficient")
    dim = parts[0].text()
    if dim not in dims:
        hint = did_you_mean(dim, dims)
        raise parts[0].wrong(f"{dim!r} is no dimension of the problem{hint}; it has "
                             f"{' '.join(dims)}")  # fmt: skip
    if len(parts) == 1:
        return Term(dim)
    if isinstance(parts[1].value, str) and parts[1].value not in steps:
        hint = did_you_mean(parts[1].value, steps)
        raise parts[1].wrong(f"{parts[1].value!r} is no coefficient of the problem{hint}")
    return Term(dim, parts[1].whole(steps))


def _operands(node: Node, spaces: list[_Space]) -> dict[Operand, _Space]:
    """Which data space is which operand: the written one is the output."""
    written = [space for space in spaces if space.written]
    read = [space for space in spaces if not space.written]
    if len(written) != 1 or len(read) != 2:
        raise UnsupportedError(
            f"{node.where}: data spaces {', '.join(space.name for space in spaces)}: what is "
            "scored reads two and has one of read_write: true"
        )

    def like_input(space: _Space) -> int:
        windows = any(len(axis) > 1 for axis in space.projection.axes)
        named = bool(_INPUT.search(space.name)) - bool(_WEIGHT.search(space.name))
        return 2 * named + windows

    weight, source = sorted(read, key=like_input)
    return {Operand.WEIGHT: weight, Operand.INPUT: source, Operand.OUTPUT: written[0]}


def _windowed(space: _Space, output: frozenset[str]) -> Projection:
    """Axes with the term of the outputs in front, as scorers have them."""
    axes = (tuple(sorted(axis, key=lambda term: term.dim not in output))
            for axis in space.projection.axes)  # fmt: skip
    return Projection(tuple(axes))


def _check_scored(nest: LoopNest, spaces: Mapping[Operand, _Space]) -> None:
    """Check each axis by itself, so that the message names it."""
    for operand, projection in zip(Operand, nest.operands, strict=True):
        node, name = spaces[operand].node, spaces[operand].name
        seen = [term.dim for axis in projection.axes for term in axis]
        for axis in projection.axes:
            shown = " + ".join(f"{term.step}*{term.dim}" for term in axis)
            whole = len(axis) == 1 and axis[0].step == 1
            if not (whole or len(axis) == 2) or (operand is Operand.OUTPUT and not whole):
                raise UnsupportedError(
                    f"{node.where}: problem {nest.name}: the axis {shown} of {name} is not scored; "
                    "an axis is a dimension or, of what is read, a sum of two"
                )
        if len(set(seen)) < len(seen):
            raise UnsupportedError(
                f"{node.where}: problem {nest.name}: a dimension stands twice in {name}; such a "
                "projection is not scored"
            )
    accesses(nest)
