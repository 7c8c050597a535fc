"""What ``cheapest`` returns: a short table, and all that was tried."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import onnx_ir as ir

from mlcnn import graph
from mlcnn.api.loading import Rewritten
from mlcnn.frontier.outcome import Outcome
from mlcnn.report import Page, cheapest_page
from mlcnn.table import Shown, Tabular

__all__ = ["Cheapest"]


@dataclass(frozen=True, slots=True, repr=False)
class Cheapest(Rewritten, Tabular):
    """The cheapest ways to run a network.

    Attributes:
        original: the network as it was.
        model: the cheapest one.
        outcome: all that was found out, without the networks.
    """

    original: ir.Model
    model: ir.Model
    outcome: Outcome

    @property
    def pipeline(self) -> str:
        """The cheapest one's, as ``mlcnn stack --steps`` replays it."""
        return self.outcome.entries[self.outcome.best].pipeline

    def save(self, path: "str | PathLike[str]") -> None:
        """Write the cheapest network to an ``.onnx`` file of standard operators.

        Raises:
            InputError: the file cannot be written.
        """
        graph.save(self.model, Path(path))

    def report(self) -> Page:
        """The page: fronts as pictures, what was tried and why not, predictions, the replay."""
        return Page(cheapest_page(self.outcome))

    def records(self) -> list[dict[str, Any]]:
        """A row for each entry."""
        return [entry.to_json() for entry in self.outcome.entries]

    def shown(self) -> Shown:
        """The short table."""
        return self.outcome.shown()

    def to_json(self) -> dict[str, object]:
        """What ``mlcnn cheapest --json`` prints, apart from the output's path."""
        return self.outcome.to_json()
