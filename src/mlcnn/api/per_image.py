"""What single images cost in a network that leaves work out."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from mlcnn.api.accuracy import ImageOptions, labelled_images
from mlcnn.api.loading import Source, load, model_name
from mlcnn.api.optimizing import Progress, silent
from mlcnn.errors import InputError
from mlcnn.frontier import Cost
from mlcnn.frontier.activity import recorded
from mlcnn.table import Shown, Tabular
from mlcnn.workload import Layer, read

__all__ = ["PerImage", "per_image"]

_IMAGES = 2_000


@dataclass(frozen=True, slots=True, repr=False)
class PerImage(Tabular):
    """Distributions over images.

    Attributes:
        name: of the network.
        images: how many, and of what.
        costs: by quantity.
    """

    name: str
    images: str
    costs: Mapping[str, Cost]

    def records(self) -> list[dict[str, Any]]:
        """A row for each cost."""
        return [{"cost": name, **asdict(cost)} for name, cost in self.costs.items()]

    def shown(self) -> Shown:
        """Mean, spread, 95th percentile and worst."""
        rows = tuple(
            (name, *(f"{value:,.4g}" for value in (cost.mean, cost.sd, cost.p95, cost.worst)))
            for name, cost in self.costs.items()
        )
        columns = ("an image", "mean", "spread", "95 of 100 below", "worst")
        return Shown(f"{self.name}, {self.images}", columns, rows)

    def to_json(self) -> dict[str, object]:
        """For ``--json``."""
        return {"images": self.images, "costs": {n: asdict(c) for n, c in self.costs.items()}}


def per_image(
    source: Source,
    data: "str | PathLike[str]",
    images: ImageOptions | None = None,
    *,
    weights: "str | PathLike[str] | None" = None,
    progress: Progress | None = None,
) -> PerImage:
    """Multiplications that images take in a network that leaves work out, found by running it.

    Args:
        source: see ``load``.
        data: see ``training.read_images``; its test images count, 2,000 at most.
        images: how they go to the network.
        weights: see ``load``.
        progress: told how the work goes on.

    Raises:
        InputError: the source or the data cannot be used, or every image costs the same.
    """
    model = load(source, weights=weights)
    if not read(model, batch=1).is_dynamic:
        raise InputError(
            f"--data: in {model_name(source)} every image costs the same, what is counted; leave "
            "--data away"
        )
    found = labelled_images(source, Path(data), model, images or ImageOptions())
    if found is None:
        raise InputError(f"--data {data}: no images")
    chosen = found.images[:_IMAGES]
    (progress or silent)("find out what runs", 0, 0)
    cost = recorded(model, chosen).cost(model, _macs)
    told = f"{len(chosen):,} images of {found.name}"
    return PerImage(model_name(source), told, {"multiplications": cost})


def _macs(layer: Layer) -> float:
    return float(layer.nest.macs)
