"""How long real images take in a network that leaves work out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike

import numpy as np
import onnx_ir as ir

from mlcnn import engines
from mlcnn.api.accuracy import ImageOptions
from mlcnn.api.benchmarking import MeasureOptions, Setting, subjects_of
from mlcnn.api.loading import Source, model_name
from mlcnn.api.optimizing import Progress, silent
from mlcnn.api.options import NO_REWRITE, RewriteOptions
from mlcnn.api.per_image import PerImage, real_images
from mlcnn.engines import Array
from mlcnn.engines.timing import one_by_one
from mlcnn.errors import InputError, UnsupportedError
from mlcnn.frontier import Cost
from mlcnn.workload import read

__all__ = ["latency_per_image"]

_TIMED = 1_000
_NO_MEASURE = MeasureOptions()


def latency_per_image(
    source: Source,
    data: "str | PathLike[str]",
    images: ImageOptions | None = None,
    rewriting: RewriteOptions = NO_REWRITE,
    measuring: MeasureOptions = _NO_MEASURE,
    *,
    against: Source | None = None,
    input_shape: Sequence[int] | None = None,
    weights: "str | PathLike[str] | None" = None,
    progress: Progress | None = None,
) -> PerImage:
    """Milliseconds of real images, one by one or batch by batch, the networks in turn.

    Args:
        source: see ``load``.
        data: see ``training.read_images``; its test images count, 1,000 at most.
        images: how they go to the network.
        rewriting: see ``bench``.
        measuring: on what to measure.
        against: see ``bench``; every image may cost the same there.
        input_shape: see ``load``.
        weights: see ``load``.
        progress: told how the work goes on.

    Raises:
        InputError: the source, the data or an option cannot be used, or every image costs the same.
        UnsupportedError: no engine runs the network.
    """
    tell = progress or silent
    subjects = subjects_of(
        source, rewriting, measuring, against=against, input_shape=input_shape, weights=weights
    )
    pixels, told, timed = None, "", _Timed(measuring)
    for setting in subjects.chosen:
        variants = subjects.variants(setting)
        if pixels is None:
            dynamic = next((m for m in variants.values() if read(m, batch=1).is_dynamic), None)
            found = real_images(source, dynamic or next(iter(variants.values())), data, images)
            found.require_finite()
            pixels, told = found.labelled.images[:_TIMED], found.labelled.name
        tell("time real images", 0, 0)
        timed.add(setting, variants, pixels)
    if not timed.costs:
        raise UnsupportedError("; ".join(timed.notes) or "no engine")
    count = 0 if pixels is None else len(pixels)
    notes = tuple(timed.notes)
    return PerImage(model_name(source), f"{count:,} images of {told}", timed.costs, notes=notes)


@dataclass(frozen=True, slots=True, eq=False)
class _Timed:
    """What was timed so far.

    Attributes:
        options: on what to measure.
        costs: by what was timed, of a call.
        notes: why others were not.
    """

    options: MeasureOptions
    costs: dict[str, Cost] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, setting: Setting, variants: Mapping[str, ir.Model], pixels: Array) -> None:
        """All networks of a setting, in turn."""
        count, calls = len(pixels) // setting.batch, dict[str, Callable[[int], object]]()
        if not count:
            raise InputError(
                f"--batch {setting.batch}: there are {len(pixels)} images; give more, or a smaller "
                "batch"
            )
        for name, model in variants.items():
            try:
                calls[_named(setting, name, len(variants))] = self._caller(setting, model, pixels)
            except UnsupportedError as error:
                self.notes.append(f"not timed in {setting.engine}: {error}")
        if calls:
            times = one_by_one([*calls.values()], count)
            for key, each in zip(calls, times, strict=True):
                self.costs[key] = Cost.over(np.asarray(each))

    def _caller(self, setting: Setting, model: ir.Model, pixels: Array) -> Callable[[int], object]:
        engine, options, batch = engines.get(setting.engine), self.options, setting.batch
        session = engine.prepare(model, threads=options.threads, device=options.device)
        (name, *others) = (value.name or "" for value in model.graph.inputs)
        if others:
            raise InputError(
                f"--data: the network has the inputs {', '.join([name, *others])}; images go to one"
            )

        def call(number: int) -> object:
            return session.run({name: pixels[number * batch : (number + 1) * batch]})

        call(0)  # what an engine refuses only when it runs, and warm caches
        return call


def _named(setting: Setting, variant: str, variants: int) -> str:
    """What a cost is called: of a batch above 1, and of several networks, what it is of."""
    of = f" {variant}" if variants > 1 else ""
    together = "" if setting.batch == 1 else f", {setting.batch} images"
    return f"latency_ms {setting.engine}{of}{together}"
