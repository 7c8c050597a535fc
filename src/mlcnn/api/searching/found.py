"""What ``cheapest`` returns: a short table, and all that was tried."""

from dataclasses import dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import Any

import onnx_ir as ir

from mlcnn import graph
from mlcnn.api.loading import Rewritten
from mlcnn.frontier.outcome import Entry, Outcome, Prediction, Tried
from mlcnn.report import Page, cheapest_page
from mlcnn.table import Shown, Tabular

__all__ = ["Cheapest", "Entry", "Prediction", "Tried"]


@dataclass(frozen=True, slots=True, repr=False)
class Cheapest(Rewritten, Tabular):
    """The cheapest ways to run a network.

    Attributes:
        name: of the network.
        original: the network as it was.
        model: the cheapest one.
        objectives: keys of the costs that were made small.
        max_drop: percentage points that could be lost.
        entries: the original first.
        best: place of the cheapest among them.
        tried: everything, in order.
        dropped: what was left out, by name, and why.
        prediction: how good predictions were; None where nothing was foretold.
        seconds: that it took, earlier calls that it goes on from included.
        spent: seconds by method.
        interrupted: whether the user ended it.
        where: the processor.
        notes: what the reader should know.
        options: what was asked for.
        replay: the command that makes the cheapest network again; empty where there is none.
        versions: of what took part.
    """

    name: str
    original: ir.Model
    model: ir.Model
    objectives: tuple[str, ...]
    max_drop: float
    entries: tuple[Entry, ...]
    best: int
    tried: tuple[Tried, ...]
    dropped: dict[str, str]
    prediction: Prediction | None
    seconds: float
    spent: dict[str, float]
    interrupted: bool
    where: str
    notes: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    replay: str = ""
    versions: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def pipeline(self) -> str:
        """The cheapest one's, as ``mlcnn stack --steps`` replays it."""
        return self.entries[self.best].pipeline

    @property
    def outcome(self) -> Outcome:
        """The same without the networks."""
        return Outcome(**{one.name: getattr(self, one.name) for one in fields(Outcome)})

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
        return [entry.to_json() for entry in self.entries]

    def shown(self) -> Shown:
        """The short table."""
        return self.outcome.shown()

    def to_json(self) -> dict[str, object]:
        """What ``mlcnn cheapest --json`` prints, apart from the output's path."""
        return self.outcome.to_json()
