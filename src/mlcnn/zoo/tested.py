"""What a network of the zoo and its reordered form reach on a whole test set, as recorded.

The record stands beside the embedded weights and is written by the command that trains them.
"""

import json
from dataclasses import dataclass
from pathlib import Path

__all__ = ["TestedPair", "TrainingRun", "load_tested"]


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """One training run of a network; accuracies are shares of 0 to 1.

    Attributes:
        seed: of the run.
        held_out: on the training images that were held out to choose the seed.
        test: on the test set, which chose nothing.
    """

    seed: int
    held_out: float
    test: float


@dataclass(frozen=True, slots=True)
class TestedPair:
    """The embedded original and reordered weights on the same test images.

    Attributes:
        dataset: name of the data set and split.
        images: number of test images.
        original: how many of them the original network classifies correctly.
        reordered: how many the reordered one does.
        only_original: how many the original network alone classifies correctly.
        only_reordered: how many the reordered network alone does.
        original_runs: every training run of the original network, the embedded one among them.
        reordered_runs: those of the reordered network.
    """

    __test__ = False  # pytest takes a class of this name for one of tests

    dataset: str
    images: int
    original: int
    reordered: int
    only_original: int
    only_reordered: int
    original_runs: tuple[TrainingRun, ...] = ()
    reordered_runs: tuple[TrainingRun, ...] = ()

    def __post_init__(self) -> None:
        both = self.original - self.only_original
        if both != self.reordered - self.only_reordered or not 0 <= both <= self.images:
            msg = f"counts of images that both networks classify correctly disagree: {self}"
            raise ValueError(msg)


def load_tested(path: Path) -> TestedPair:
    """Read a record that the package carries."""
    record = json.loads(path.read_text(encoding="utf-8"))
    for key in ("original_runs", "reordered_runs"):
        record[key] = tuple(TrainingRun(**run) for run in record[key])
    return TestedPair(**record)
