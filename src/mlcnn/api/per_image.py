"""What single images cost in a network that leaves work out: counted, on a machine, measured."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from mlcnn import engines
from mlcnn.accelerators import Conditional, Machine, Technology
from mlcnn.api.accuracy import ImageOptions, Labelled, labelled_images
from mlcnn.api.benchmarking import fixed_batch
from mlcnn.api.loading import Source, load, model_name
from mlcnn.api.optimizing import Progress, silent
from mlcnn.counting import executed_multiplications
from mlcnn.engines import Array
from mlcnn.errors import InputError
from mlcnn.frontier import Cost
from mlcnn.frontier.activity import Activity, recorded
from mlcnn.frontier.batches import in_batches
from mlcnn.frontier.costs import amount, label
from mlcnn.table import Shown, Tabular
from mlcnn.workload import read

__all__ = ["PerImage", "RealImages", "per_image", "real_images", "require_finite"]

_IMAGES = 2_000
_BATCH = 250


@dataclass(frozen=True, slots=True, repr=False)
class PerImage(Tabular):
    """Distributions over images.

    Attributes:
        name: of the network.
        images: how many, and of what.
        costs: by quantity.
        parts: of a mean, by quantity: what of it is spent where; they add up to it.
        notes: what the reader must know.
    """

    name: str
    images: str
    costs: Mapping[str, Cost]
    parts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

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
        return Shown(f"{self.name}, {self.images}", columns, rows, (*self._shares(), *self.notes))

    def _shares(self) -> tuple[str, ...]:
        return tuple(
            f"{label(name)}, mean, spent: "
            + ", ".join(f"{where} {part:,.4g}" for where, part in parts.items())
            for name, parts in self.parts.items()
        )

    def told(self) -> tuple[str, ...]:
        """A sentence for each cost."""
        return tuple(
            f"{label(name)}, {self.images}: mean {amount(name, c.mean)}, spread "
            f"{amount(name, c.sd)}, 95 of 100 below {amount(name, c.p95)}, worst "
            f"{amount(name, c.worst)}"
            for name, c in self.costs.items()
        )

    def to_json(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "images": self.images,
            "costs": {n: asdict(c) for n, c in self.costs.items()},
            "parts": {n: dict(parts) for n, parts in self.parts.items()},
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True, eq=False)
class RealImages:
    """A network that leaves work out, and images to find out on what they cost.

    Attributes:
        name: of the network.
        model: the network.
        labelled: the images.
    """

    name: str
    model: ir.Model
    labelled: Labelled

    def activity(self, threads: int = 1) -> Activity:
        """What of the network runs for each image, 2,000 at most.

        Raises:
            InputError: a score is not finite: what a threshold does with it means nothing.
        """
        self.require_finite()
        return recorded(self.model, self.labelled.images[:_IMAGES], threads=threads)

    def require_finite(self) -> None:
        """Refuse images whose scores are no numbers; see the function of this name."""
        images, fixed = self.labelled.images[:_IMAGES], fixed_batch(self.model)
        step, count = fixed or _BATCH, len(images) // (fixed or 1) * (fixed or 1)
        session = engines.get("onnxruntime").prepare(self.model)
        name = self.model.graph.inputs[0].name or ""
        if len(self.model.graph.inputs) == 1:  # else recording says what is wrong
            for start in range(0, count, step):
                found = session.run({name: images[start : start + step]})
                require_finite(found, self.labelled.name)

    def multiplications(self, activity: Activity) -> PerImage:
        """How often images multiply."""
        cost = activity.cost(self.model, executed_multiplications)
        return PerImage(self.name, self._of(activity.images), {"multiplications": cost})

    def energy(
        self, activity: Activity, machine: Machine, technology: Technology, batch: int
    ) -> PerImage:
        """Energy and time on a machine, of images that go together so many at a time.

        Raises:
            InputError: fewer images than a batch has.
            InfeasibleError: the machine cannot run a layer.
        """
        costs = Conditional(self.model, machine, technology)
        spent, worst = in_batches(activity, costs, batch), costs.extremes(batch).worst
        each_ms = 1e3 / (machine.clock_mhz * 1e6)
        energy = Cost.over(spent.energy_pj, worst.energy_pj / batch)
        latency = Cost.over(spent.cycles * each_ms, worst.cycles * each_ms / batch)
        of = self._of(len(spent.energy_pj) * batch)
        if batch > 1:
            of += f", {batch} together by chance; an image on average over its batch"
        found = {"energy_pj": energy, f"latency_ms {machine.name}": latency}
        return PerImage(self.name, of, found, {"energy_pj": spent.parts}, costs.notes)

    def _of(self, count: int) -> str:
        return f"{count:,} images of {self.labelled.name}"


def require_finite(outputs: Mapping[str, Array], images: str) -> None:
    """Refuse scores that are not numbers.

    Args:
        outputs: of a network, by name.
        images: name of those that it was given.

    Raises:
        InputError: one is infinite or no number.
    """
    for name, array in outputs.items():
        if not np.isfinite(array).all():
            raise InputError(
                f"{images}: {name} of the network is not finite for an image, and no threshold "
                "says anything of that; check its weights, and that images are scaled as in "
                "training (--mean, --std, --scale)"
            )


def real_images(
    source: Source,
    model: ir.Model,
    data: "str | PathLike[str]",
    images: ImageOptions | None = None,
) -> RealImages:
    """A network that leaves work out, with images.

    Args:
        source: what it was loaded from.
        model: the network.
        data: see ``training.read_images``; its test images count.
        images: how they go to the network.

    Raises:
        InputError: the data cannot be used, or every image costs the same.
    """
    if not read(model, batch=1).is_dynamic:
        raise InputError(
            f"--data: in {model_name(source)} every image costs the same, what is counted; leave "
            "--data away"
        )
    found = labelled_images(source, Path(data), model, images or ImageOptions())
    if found is None:
        raise InputError(f"--data {data}: no images")
    return RealImages(model_name(source), model, found)


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
    found = real_images(source, load(source, weights=weights), data, images)
    (progress or silent)("find out what runs", 0, 0)
    return found.multiplications(found.activity())
