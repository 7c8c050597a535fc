"""What the paper claims of accuracies, and whether the recorded runs bear it out.

A claim is that one accuracy less another is at least a bound. The difference of our runs, paired by
seed and image, has a 95 % interval: it lies at or above the bound (confirmed), below it
(contradicted), or holds it (not decided). Fewer than three pairs decide nothing: how far seeds
differ is not known then.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mlcnn.errors import InputError
from mlcnn.reproduce.reproduction import published_rows
from mlcnn.reproduce.study.records import Cell, Run
from mlcnn.reproduce.study.statistics import Estimate, mean_over_seeds, paired_difference

__all__ = ["Claim", "Judged", "Verdict", "claims_of", "judge", "judged_claims", "overall"]


_LEAST_PAIRS = 3


class Verdict(StrEnum):
    """What our runs say of a claim."""

    CONFIRMED = "confirmed"
    CONTRADICTED = "contradicted"
    UNDECIDED = "not decided"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Claim:
    """That an accuracy less another is at least so many points.

    Attributes:
        item: the claim in words.
        networks: whose accuracy.
        dataset: on which data.
        form: of the network.
        against: form of the other.
        precision: of the network.
        against_precision: of the other.
        quantity: top1 or top5.
        at_least: points, percent of the test images.
        scope: ``each`` or ``most`` of the networks.
        printed: what of it the paper says in numbers.
        source: where.
        note: what of it is our reading.
    """

    item: str
    networks: tuple[str, ...]
    dataset: str
    form: str
    against: str
    precision: str
    against_precision: str
    quantity: str
    at_least: float
    scope: str
    printed: str
    source: str
    note: str


@dataclass(frozen=True, slots=True)
class Judged:
    """A claim about one network beside our runs.

    Attributes:
        claim: the claim.
        network: the network.
        difference: ours, in points; None without runs of both forms from the same seed.
        verdict: what follows.
    """

    claim: Claim
    network: str
    difference: Estimate | None
    verdict: Verdict


def claims_of(what: str) -> tuple[Claim, ...]:
    """The claims of a figure, from ``published/``."""
    return tuple(_claim(row) for row in published_rows(what))


def _claim(row: Mapping[str, str]) -> Claim:
    split = {
        **row,
        "networks": tuple(row["networks"].split()),
        "at_least": float(row["at_least"]),
    }
    return Claim(**split)  # pyright: ignore[reportArgumentType] - the columns are the attributes


def judge(difference: Estimate | None, at_least: float) -> Verdict:
    """What an interval says of a bound."""
    if difference is None:
        return Verdict.NOT_RUN
    if difference.runs < _LEAST_PAIRS:
        return Verdict.UNDECIDED
    if difference.low >= at_least:
        return Verdict.CONFIRMED
    return Verdict.CONTRADICTED if difference.high < at_least else Verdict.UNDECIDED


def overall(scope: str, verdicts: Sequence[Verdict]) -> Verdict:
    """What the networks say together.

    Args:
        scope: ``each``: one that contradicts is enough to contradict, all have to confirm.
            ``most``: more than half confirm, or half or more contradict.
        verdicts: a network's each; those that did not run count.
    """
    count = len(verdicts)
    confirmed = verdicts.count(Verdict.CONFIRMED)
    contradicted = verdicts.count(Verdict.CONTRADICTED)
    if verdicts.count(Verdict.NOT_RUN) == count:
        return Verdict.NOT_RUN
    if scope == "most":
        enough, against = 2 * confirmed > count, 2 * contradicted >= count
    else:
        enough, against = confirmed == count, contradicted > 0
    if against:
        return Verdict.CONTRADICTED
    return Verdict.CONFIRMED if enough else Verdict.UNDECIDED


def judged_claims(what: str, runs: Sequence[Run]) -> tuple[tuple[Claim, tuple[Judged, ...]], ...]:
    """Each claim of a figure, and what the runs of each of its networks say.

    Args:
        what: name of the figure.
        runs: the records.

    Raises:
        InputError: two runs that are to be compared were trained by different recipes.
    """
    return tuple(
        (claim, tuple(_judged(claim, network, runs) for network in claim.networks))
        for claim in claims_of(what)
    )


def _judged(claim: Claim, network: str, runs: Sequence[Run]) -> Judged:
    one = Cell(network, claim.dataset, claim.form, claim.precision)
    other = Cell(network, claim.dataset, claim.against, claim.against_precision)
    pairs = _pairs(one, other, runs)
    difference = _difference(claim.quantity, pairs) if pairs else None
    return Judged(claim, network, difference, judge(difference, claim.at_least))


def _pairs(one: Cell, other: Cell, runs: Sequence[Run]) -> list[tuple[Run, Run]]:
    first, second = ({run.seed: run for run in runs if run.cell == cell} for cell in (one, other))
    pairs = [(first[seed], second[seed]) for seed in sorted(first.keys() & second.keys())]
    for run, beside in pairs:
        # Precisions are trained in different ways, by design.
        if one.precision == other.precision and run.recipe != beside.recipe:
            raise InputError(
                f"{run.name} and {beside.name} were trained by different recipes, so their "
                "accuracies say nothing of the networks; remove one and train it anew"
            )
        if len(run.right) != len(beside.right):
            raise InputError(
                f"{run.name} and {beside.name} were tested on {len(run.right)} and "
                f"{len(beside.right)} images; remove one and train it anew"
            )
    return pairs


def _difference(quantity: str, pairs: Sequence[tuple[Run, Run]]) -> Estimate | None:
    """In points. Of top 5 only the shares are recorded: Student's interval over the seeds."""
    if quantity == "top1":
        found = paired_difference([a.right for a, _ in pairs], [b.right for _, b in pairs])
    else:
        both = [(a.top5, b.top5) for a, b in pairs]
        changes = [a - b for a, b in both if a is not None and b is not None]
        if len(changes) < 2:
            return None
        found = mean_over_seeds(changes, len(pairs[0][0].right))
    return Estimate(100 * found.value, 100 * found.low, 100 * found.high, found.runs)
