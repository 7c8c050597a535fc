"""Polynomials of loop factors, and many of them as two matrices."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
from numpy.typing import NDArray

__all__ = ["Polynomial", "Rows"]

Exponents = tuple[int, ...]
"""Variables of a monomial, ascending; one stands as often as its power."""


@dataclass(frozen=True, slots=True)
class Polynomial:
    """A sum of products of variables.

    Attributes:
        terms: coefficient of each product; none of them 0.
    """

    terms: dict[Exponents, int]

    @classmethod
    def number(cls, value: int) -> "Polynomial":
        """A constant."""
        return cls({(): value} if value else {})

    @classmethod
    def variable(cls, number: int) -> "Polynomial":
        """One variable."""
        return cls({(number,): 1})

    @classmethod
    def product(cls, factors: Iterable["Polynomial"]) -> "Polynomial":
        """All factors multiplied."""
        return reduce(lambda one, other: one * other, factors, cls.number(1))

    def __add__(self, other: "Polynomial") -> "Polynomial":
        terms = dict(self.terms)
        for exponents, coefficient in other.terms.items():
            terms[exponents] = terms.get(exponents, 0) + coefficient
        return Polynomial({exponents: value for exponents, value in terms.items() if value})

    def __sub__(self, other: "Polynomial") -> "Polynomial":
        return self + other * Polynomial.number(-1)

    def __mul__(self, other: "Polynomial") -> "Polynomial":
        terms: dict[Exponents, int] = {}
        for left, one in self.terms.items():
            for right, two in other.terms.items():
                exponents = tuple(sorted(left + right))
                terms[exponents] = terms.get(exponents, 0) + one * two
        return Polynomial({exponents: value for exponents, value in terms.items() if value})


@dataclass(slots=True)
class Rows:
    """Polynomials as rows of ``sums @ exp(exponents @ x)``, each of them once.

    Attributes:
        variables: how many there are.
    """

    variables: int
    _monomials: dict[Exponents, int] = field(default_factory=dict[Exponents, int])
    _rows: dict[tuple[tuple[int, int], ...], int] = field(
        default_factory=dict[tuple[tuple[int, int], ...], int]
    )

    def row(self, polynomial: Polynomial) -> int:
        """Number of a polynomial's row."""
        terms = [
            (self._monomials.setdefault(exponents, len(self._monomials)), coefficient)
            for exponents, coefficient in polynomial.terms.items()
        ]
        return self._rows.setdefault(tuple(sorted(terms)), len(self._rows))

    def matrices(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Exponents, shape (monomials, variables), and coefficients, shape (rows, monomials)."""
        exponents = np.zeros((len(self._monomials), self.variables))
        for powers, number in self._monomials.items():
            np.add.at(exponents[number], list(powers), 1.0)
        sums = np.zeros((len(self._rows), len(self._monomials)))
        for terms, number in self._rows.items():
            for monomial, coefficient in terms:
                sums[number, monomial] = coefficient
        return exponents, sums
