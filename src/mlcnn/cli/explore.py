"""``mlcnn explore``: hardware sizes and mappings searched together."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.console import Console

import mlcnn
from mlcnn.cli.map import parse_seconds
from mlcnn.cli.options import Loading, Printing
from mlcnn.cli.output import complain, print_json, show

if TYPE_CHECKING:
    from mlcnn.api import ExploreOptions
    from mlcnn.codesign.exploration import Standing

__all__ = ["Exploring", "exploring"]

_EVERY_S = 5.0
"""Between two lines of progress where standard error is no terminal."""


@Parameter(name="*", group="Exploration")
@dataclass(frozen=True, slots=True)
class Exploring:
    """Which designs, what is made small, and how long.

    Attributes:
        template: gemmini, eyeriss, mlcnn or dense, or your own .yaml file.
        space: which steps of the template, as powers or fine; the first by default.
        range_: values of a parameter, as pe=8..64, pe=8,16 or precision=int8. Repeat it for more.
        objectives: one to three of latency, energy, power, area and edp, with commas between; by
            default latency,power,area, or latency,power where the area is not known.
        area: no design is larger, in mm2.
        at_most: another bound, as power=0.5W, latency=5ms or energy=2mJ. Repeat it for more.
        budget: time after which the search ends, as 60s or 10m; until nothing better is expected by
            default.
        search: guided by bounds and estimates; proof, which goes on until every other design is
            bounded away; descent from random designs to the best neighbour; or relaxed, which moves
            sizes and mappings together by gradients.
        seed: of what is drawn.
        processes: that map designs.
        engine: local processes, or ray, which needs pip install "mlcnn[ray]" and is worth its start
            of some seconds for clusters, and where a design takes long.
        address: of a cluster of Ray that runs, as HOST:PORT or auto; by default Ray is started on
            this machine, with --processes.
        journal: file that every finished design is written to; the same command goes on from it.
        fresh: begin the journal anew.
        start_from: .yaml file of a design to improve on, as --output writes it.
        convention: what is counted on loop nests: exact, exact-box, timeloop-2023 or timeloop-2024.
        expanded: let convolutions with a pool behind them run with the expanded kernel on loop
            nests, where a design gains by it. Arrays choose among their forms in any case.
        device: where the gradients of relaxed are: cpu, or cuda.
    """

    template: str = "gemmini"
    space: str | None = None
    range_: Annotated[tuple[str, ...], Parameter(name="--range")] = ()
    objectives: str | None = None
    area: float | None = None
    at_most: tuple[str, ...] = ()
    budget: str | None = None
    search: Literal["guided", "proof", "descent", "relaxed"] = "guided"
    seed: int = 0
    processes: int = 1
    engine: Literal["local", "ray"] = "local"
    address: str | None = None
    journal: Path | None = None
    fresh: bool = False
    start_from: Path | None = None
    convention: str = "exact"
    expanded: bool = False
    device: Literal["cpu", "cuda"] = "cpu"

    def options(self) -> "ExploreOptions":
        """The same for the API.

        Raises:
            InputError: the budget is no time.
        """
        return mlcnn.api.ExploreOptions(
            template=self.template,
            space=self.space,
            ranges=self.range_,
            objectives=self.objectives,
            area_mm2=self.area,
            at_most=self.at_most,
            budget_s=float("inf") if self.budget is None else parse_seconds(self.budget),
            search=self.search,
            seed=self.seed,
            processes=self.processes,
            engine=self.engine,
            address=self.address,
            journal=self.journal,
            fresh=self.fresh,
            start_from=self.start_from,
            convention=self.convention,
            expanded=self.expanded,
            device=self.device,
        )


def exploring(
    model: str,
    /,
    *,
    batch: int | None = None,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    explored: Exploring = Exploring(),
    loading: Loading = Loading(),
    printing: Printing = Printing(),
) -> None:
    """Find the designs of a template that no other beats for a network.

    Every design is priced with the best mapping of every layer. Ctrl-C ends the search and shows
    the best so far.

    Args:
        model: network.
        batch: images; 1 by default, or what the network is fixed to.
        output: folder for the designs as .yaml files, that evaluate --on takes (and map --on, but
            for mlcnn and dense), and a picture of them, front.svg.
        explored: which designs, what is made small, and how long.
        loading: how to load the network.
        printing: what is printed.
    """
    options = explored.options()
    network = mlcnn.api.NetworkOptions(
        batch=batch, input_shape=loading.shape, weights=loading.weights
    )
    with _standing() as tell:
        found = mlcnn.explore(model, options, network, tell)
    files: list[Path] = []
    if output is not None:
        files = mlcnn.api.write_designs(found, output)
        picture = output / "front.svg"
        if mlcnn.api.write_front(found, picture):
            files.append(picture)
    if printing.json:
        print_json(found.to_json() | {"files": [str(path) for path in files]})
        return
    show(mlcnn.api.exploration_table(found))
    if files:
        show("", f"written: {output}, {len(files)} files")


@contextmanager
def _standing() -> Generator["Callable[[Standing], None]"]:
    """Progress on standard error: a line that changes, or one now and then if it is no terminal.

    Yields:
        What to call after every design.
    """
    terminal = Console(file=sys.stderr)
    if not terminal.is_terminal:
        last = time.monotonic()

        def line(standing: "Standing") -> None:
            nonlocal last
            if time.monotonic() - last >= _EVERY_S:
                last = time.monotonic()
                complain(str(standing))

        yield line
        return
    with terminal.status("bounds of all designs") as status:

        def update(standing: "Standing") -> None:
            status.update(str(standing))

        yield update
