"""Each table and figure of the papers: published beside computed.

The published numbers are the package's own data: ``published/<name>.csv``, with tolerance and
source in every row. To add a table or figure, put its CSV there, write a function of its name
that returns a ``Reproduction``, and enter it in ``REPRODUCTIONS``.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import replace

from mlcnn.errors import InputError
from mlcnn.reproduce.additions import reproduce_additions
from mlcnn.reproduce.networks import reproduce_networks
from mlcnn.reproduce.reproduction import Reproduction, Row

__all__ = ["ALL", "REPRODUCTIONS", "Reproduction", "Row", "names", "reproduce"]

ALL = "all"

REPRODUCTIONS: Mapping[str, Callable[[str], Reproduction]] = {
    "table-1": reproduce_networks,
    "table-2": reproduce_additions,
    "table-3": reproduce_additions,
    "table-4": reproduce_additions,
    "table-5": reproduce_additions,
    "table-6": reproduce_additions,
}
"""What can be reproduced, in the order of the paper."""


def names() -> tuple[str, ...]:
    """What can be reproduced; ``all`` is all of them."""
    return tuple(REPRODUCTIONS)


def reproduce(what: str) -> Reproduction:
    """A published table or figure beside what is computed here.

    Args:
        what: one of ``names()``, or ``all``.

    Raises:
        InputError: ``what`` is not known.

    Example:
        >>> reproduce("table-2").ok
        True
    """
    if what == ALL:
        rows = [
            replace(row, item=f"{name}: {row.item}")
            for name in REPRODUCTIONS
            for row in reproduce(name).rows
        ]
        return Reproduction(ALL, tuple(rows))
    if what not in REPRODUCTIONS:
        near = difflib.get_close_matches(what, [*REPRODUCTIONS, ALL], n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(
            f"cannot reproduce {what!r}: {hint}There are {', '.join(REPRODUCTIONS)} and {ALL}"
        )
    return REPRODUCTIONS[what](what)
