"""Everything that a run found out, as the plain data that reports show."""

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlcnn.api.machine import machine, versions
from mlcnn.counting import CountReport
from mlcnn.errors import UnsupportedError
from mlcnn.passes.verification import TOLERANCE
from mlcnn.report import (
    Exactness,
    Potential,
    RunSummary,
    compare_graphs,
    neighbourhoods,
    uncounted_sentence,
)
from mlcnn.training.intervals import Accuracy

if TYPE_CHECKING:  # a rewrite makes reports of itself
    from mlcnn.api.optimized import Optimized

__all__ = ["Origin", "nothing_to_gain", "summarise"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a run came from.

    Attributes:
        name: short name of the network.
        source: zoo name, path or ``package.module:callable``.
        command: the command that repeats the run.
        seed: seed of everything random in it.
    """

    name: str
    source: str
    command: str = ""
    seed: int = 0


def _exactness(optimized: "Optimized") -> Exactness:
    checked = optimized.verification
    return Exactness(
        max_error=optimized.max_error,
        tolerance=TOLERANCE,
        vacuous=optimized.vacuous and optimized.max_error is not None,
        sites=0 if checked is None else len(checked.sites),
        stored_error=optimized.stored_error,
        network="" if optimized.network is None else optimized.network.told,
    )


def _counts(optimized: "Optimized") -> tuple[CountReport, tuple[str, ...]]:
    try:
        counts = optimized.counts()
    except UnsupportedError as error:
        return CountReport(()), (f"operations are not counted: {error}",)
    missing = uncounted_sentence(counts.uncounted)
    return counts, (*((missing,) if missing else ()), *counts.told)


def summarise(
    optimized: "Optimized",
    origin: Origin,
    *,
    accuracy: tuple[Accuracy, ...] | None = None,
    potential: Potential | None = None,
    drawn: bool = False,
) -> RunSummary:
    """The summary of a rewrite; a run adds its measurements to it.

    Args:
        optimized: the rewrite.
        origin: where it came from.
        accuracy: of its variants, where images were given.
        potential: what fine-tuning would add.
        drawn: whether it is for a page, which draws the network.
    """
    counts, warnings = _counts(optimized)
    untrained = optimized.untrained(origin.source)
    if untrained is not None:
        warnings = (untrained, *warnings)
    return RunSummary(
        model_name=origin.name,
        source=origin.source,
        pipeline=optimized.pipeline,
        command=origin.command,
        seed=origin.seed,
        versions=versions(),
        machine=machine(),
        created=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        changes=optimized.changes,
        skipped=optimized.skipped,
        counts=counts,
        exactness=_exactness(optimized),
        accuracy=accuracy,
        potential=potential,
        warnings=warnings,
        places=neighbourhoods(compare_graphs(optimized.original, optimized.model)) if drawn else (),
    )


def nothing_to_gain(gain: Potential | None) -> str:
    """What to tell a user whose network no pass made cheaper.

    Args:
        gain: what the approximate passes would add.
    """
    if gain is None:
        return (
            "nothing to gain here, with or without fine-tuning: no site gets cheaper (the reason "
            "stands with each)"
        )
    layers = "1 layer" if gain.sites == 1 else f"{gain.sites} layers"
    saved = f" and remove {gain.multiplications:,} multiplications" if gain.multiplications else ""
    return (
        f"nothing to gain here without fine-tuning; with it (--approximate), {layers} could be "
        f"fused{saved}"
    )
