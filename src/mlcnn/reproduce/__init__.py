"""Each table and figure of the papers: published beside computed.

The published numbers are the package's own data: ``published/<name>.csv``, with tolerance and
source in every row, and rows of another shape that belong to them in ``published/<name>-*.csv``.
To add a table or figure, put its CSV there, write a function of its name that returns a
``Reproduction``, and enter it in ``REPRODUCTIONS``. A number that is known to differ has the
reason in the column ``difference`` of its row; it is printed, and no failure.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from mlcnn.errors import InputError, did_you_mean
from mlcnn.reproduce.aaai18 import reproduce_aaai18
from mlcnn.reproduce.additions import reproduce_additions
from mlcnn.reproduce.circconv import reproduce_circconv
from mlcnn.reproduce.comparator import reproduce_cmp_pim
from mlcnn.reproduce.configurations import reproduce_configurations
from mlcnn.reproduce.focused import focused_with_runs, reproduce_focused
from mlcnn.reproduce.fused_layers import reproduce_fused_layers
from mlcnn.reproduce.in_memory import reproduce_imce, reproduce_isvlsi_2019
from mlcnn.reproduce.networks import reproduce_networks
from mlcnn.reproduce.penni import penni_with_runs, reproduce_penni
from mlcnn.reproduce.reproduction import Beside, Relation, Reproduction, Row, Tell
from mlcnn.reproduce.savings import reproduce_savings
from mlcnn.reproduce.sefact import reproduce_sefact
from mlcnn.reproduce.study import FIGURES, read_runs, recorded_runs, reproduce_study

__all__ = [
    "ALL",
    "REPRODUCTIONS",
    "Beside",
    "Relation",
    "Reproduction",
    "Row",
    "names",
    "reproduce",
]

ALL = "all"


def _recorded(what: str, _: Tell) -> Reproduction:
    """A figure of the study from the package's own records."""
    return reproduce_study(what, recorded_runs())


REPRODUCTIONS: Mapping[str, Callable[[str, Tell], Reproduction]] = {
    "table-1": reproduce_networks,
    "table-2": reproduce_additions,
    "table-3": reproduce_additions,
    "table-4": reproduce_additions,
    "table-5": reproduce_additions,
    "table-6": reproduce_additions,
    "table-7": reproduce_configurations,
    "figure-3": _recorded,
    "figure-4": _recorded,
    "figure-12": _recorded,
    "figure-13": reproduce_fused_layers,
    "figure-14": reproduce_savings,
    "figure-15": reproduce_fused_layers,
    "aaai18": reproduce_aaai18,
    "circconv": reproduce_circconv,
    "penni": reproduce_penni,
    "sefact": reproduce_sefact,
    "focused": reproduce_focused,
    "imce": reproduce_imce,
    "isvlsi-2019": reproduce_isvlsi_2019,
    "cmp-pim": reproduce_cmp_pim,
}
"""What can be reproduced: the tables and figures of [MLCNN] in its order, then other papers."""


def _studied(what: str, runs: Path) -> Reproduction:
    return reproduce_study(what, read_runs(runs))


_TRAINED: Mapping[str, Callable[[str, Path], Reproduction]] = {
    **dict.fromkeys(FIGURES, _studied),
    "penni": penni_with_runs,
    "focused": focused_with_runs,
}
"""What can be reproduced from a folder of runs."""


def names() -> tuple[str, ...]:
    """What can be reproduced; ``all`` is all of them."""
    return tuple(REPRODUCTIONS)


def _silent(stage: str, done: int, total: int) -> None:
    """Tell nobody."""


def reproduce(what: str, tell: Tell = _silent, runs: Path | None = None) -> Reproduction:
    """A published table or figure beside what is computed here.

    Args:
        what: one of ``names()``, or ``all``.
        tell: hears what is being worked on, the steps done and their number.
        runs: folder of records to draw a figure of the study from, the package's own by default;
            for ``penni`` one of results of ``mlcnn compress``, for ``focused`` of ``mlcnn skip``,
            none by default.

    Raises:
        InputError: ``what`` is not known, or the records cannot be used.

    Example:
        >>> reproduce("table-2").ok
        True
    """
    if runs is not None:
        if what not in _TRAINED:
            known = ", ".join(_TRAINED)
            raise InputError(f"--runs: of {what} nothing is trained, only of {known}")
        return _TRAINED[what](what, runs)
    if what == ALL:
        parts = [reproduce(name, tell).named() for name in REPRODUCTIONS]
        return Reproduction(
            ALL,
            tuple(row for part in parts for row in part.rows),
            beside=tuple(one for part in parts for one in part.beside),
        )
    if what not in REPRODUCTIONS:
        hint = did_you_mean(what, [*REPRODUCTIONS, ALL], ": ", ":")
        raise InputError(
            f"cannot reproduce {what!r}{hint} There are {', '.join(REPRODUCTIONS)} and {ALL}"
        )
    tell(what, 0, 0)
    return REPRODUCTIONS[what](what, tell)
