"""Factors and permutations, as mappings and constraints write them."""

import re
from dataclasses import dataclass

from mlcnn.codesign.timeloop.document import Node
from mlcnn.errors import UnsupportedError, did_you_mean

__all__ = ["Factor", "Permutation", "factors_of", "permutation_of"]

_FACTOR = re.compile(r"([A-Za-z])(<=|>=|==|=|<|>|)(\d+)")


@dataclass(frozen=True, slots=True)
class Factor:
    """What is said of one dimension.

    Attributes:
        dim: the dimension.
        exact: iterations, 0 for what the other levels leave; None for no more than bounds.
        least: iterations at least.
        most: iterations at most; None for no bound.
    """

    dim: str
    exact: int | None = None
    least: int = 1
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Permutation:
    """An order of loops.

    Attributes:
        inner: dimensions from the innermost outwards.
        outer: dimensions outside all others, these too from the innermost outwards.
    """

    inner: tuple[str, ...] = ()
    outer: tuple[str, ...] = ()


def factors_of(node: Node, dims: tuple[str, ...]) -> tuple[Factor, ...]:
    """Factors, as ``R=3 P=16``, ``R3,P16`` or a list.

    Args:
        node: where they stand.
        dims: dimensions of the problem.

    Raises:
        InputError: they are not of this form, or of a dimension that the problem has not.
        UnsupportedError: the last iterations of a factor are fewer than the others.
    """
    text = " ".join(node.texts()).split("#")[0]
    text = re.sub(r"\s*([<>=]+)\s*", r"\1", text)
    result: list[Factor] = []
    for part in text.split():
        found = _FACTOR.fullmatch(part)
        if found is None and part.isdigit() and result:
            raise UnsupportedError(
                f"{node.where}: the factor of {result[-1].dim} has {part} last iterations; "
                "only factors that are whole are read"
            )
        if found is None:
            raise node.wrong(f"{part!r} is no factor; write them as 'K=4 C<=2'")
        dim, sign, number = found[1], found[2], int(found[3])
        _check(node, dim, dims)
        if dim in (one.dim for one in result if sign in ("", "=", "==")):
            raise node.wrong(f"{dim} stands twice; give one factor")
        result.append(_factor(node, dim, sign, number))
    return tuple(result)


def _factor(node: Node, dim: str, sign: str, number: int) -> Factor:
    if sign in ("", "=", "=="):
        return Factor(dim, exact=number)
    bound = {"<=": number, ">=": number, "<": number - 1, ">": number + 1}[sign]
    if bound < 1:
        raise node.wrong(f"{dim}{sign}{number} lets no factor be; the least is 1")
    if sign in ("<=", "<"):
        return Factor(dim, most=bound)
    return Factor(dim, least=bound)


def _check(node: Node, dim: str, dims: tuple[str, ...]) -> None:
    if dim not in dims:
        hint = did_you_mean(dim, dims)
        raise node.wrong(f"{dim!r} is no dimension of the problem{hint}; it has {' '.join(dims)}")


def permutation_of(node: Node, dims: tuple[str, ...]) -> Permutation:
    """A permutation, as ``PRK``, ``P,R,K`` or a list; ``_`` stands for all that are not named.

    Args:
        node: where it stands.
        dims: dimensions of the problem.

    Raises:
        InputError: it names what is no dimension of the problem, or one twice.
    """
    letters = "".join(node.texts()).split("#")[0]
    for letter in letters.replace("_", ""):
        _check(node, letter, dims)
        if letters.count(letter) > 1:
            raise node.wrong(f"{letter} stands twice in the permutation {letters!r}")
    inner, _, outer = letters.partition("_")
    return Permutation(tuple(inner), tuple(outer))
