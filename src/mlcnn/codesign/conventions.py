"""What cost models count differently: one table.

What they share: a level holds one tile of each operand that it keeps; the temporal loops of the
levels above move it; words that stay are not fetched again; what instances of a level below need
in the same step is read once and sent to all; partial sums of one step are added on the way up;
the first visit of an output reads nothing. Reading a tile of outputs out to send it up is part of
the write above: no convention counts it as a read.
"""

from dataclasses import dataclass

from mlcnn.errors import InputError, did_you_mean

__all__ = [
    "CONVENTIONS",
    "EXACT",
    "EXACT_BOX",
    "TIMELOOP_2023",
    "TIMELOOP_2024",
    "Convention",
    "convention",
]


@dataclass(frozen=True, slots=True)
class Convention:
    """One row of the table.

    Attributes:
        name: of it.
        box: a tile of the input is its bounding box, else the words that are touched: where the
            stride exceeds the kernel they are fewer.
        same_step: what stays of a tile is saved only where a step moves it by the vector by
            which the innermost outer loop does, all loops inside taken at their index 1. (Timeloop
            extrapolates from the first two iterations of each loop, and forgets a tile when its
            translation changes.) Else it is saved at every step.
        first_fill: a first visit of an output tile writes it below, as zeros are.
        source: where it is known from.
    """

    name: str
    box: bool
    same_step: bool
    first_fill: bool
    source: str


EXACT = Convention(
    "exact", box=False, same_step=False, first_fill=True, source="a walk that touches every word"
)
EXACT_BOX = Convention(
    "exact-box",
    box=True,
    same_step=False,
    first_fill=True,
    source="a walk whose tiles of the input are their bounding boxes",
)
TIMELOOP_2023 = Convention(
    "timeloop-2023",
    box=True,
    same_step=True,
    first_fill=True,
    source="mappings of the DOSA artefact (ucb-bar/dosa a7a3239), scored by Timeloop in 2023",
)
TIMELOOP_2024 = Convention(
    "timeloop-2024",
    box=True,
    same_step=True,
    first_fill=False,
    source="timeloop-accelergy-exercises 2d55108: reference outputs of timeloop-model",
)

CONVENTIONS = {one.name: one for one in (EXACT, EXACT_BOX, TIMELOOP_2023, TIMELOOP_2024)}


def convention(name: str) -> Convention:
    """A convention by name.

    Raises:
        InputError: there is none of this name.
    """
    if name not in CONVENTIONS:
        hint = did_you_mean(name, CONVENTIONS)
        raise InputError(f"unknown convention {name!r}{hint}; known: {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]
