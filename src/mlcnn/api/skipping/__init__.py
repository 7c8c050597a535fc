"""Leave out what single images do not need, as far as a budget of accuracy allows."""

from collections.abc import Callable
from dataclasses import asdict, replace
from os import PathLike
from pathlib import Path

from mlcnn import graph
from mlcnn.api.accuracy import ImageOptions
from mlcnn.api.dynamic import Dynamic
from mlcnn.api.evaluation import EvaluateOptions
from mlcnn.api.loading import Source, load, model_name
from mlcnn.api.machine import machine
from mlcnn.api.optimizing import Progress, rewrite, silent
from mlcnn.api.provenance import write_result
from mlcnn.api.skipping.combining import combined
from mlcnn.api.skipping.exiting import exits
from mlcnn.api.skipping.focusing import focusing
from mlcnn.api.skipping.masked_training import MASKING_RECIPE
from mlcnn.api.skipping.narrow_exits import narrow_with_exits
from mlcnn.api.skipping.narrowing import narrow
from mlcnn.api.skipping.options import SkipOptions
from mlcnn.api.skipping.requirements import require_network, told_how_many
from mlcnn.api.skipping.selecting import selecting
from mlcnn.api.skipping.together import SKIP_RECIPE, Together
from mlcnn.api.skipping.work import Work
from mlcnn.api.training import TrainOptions, require_classifier
from mlcnn.api.writing import results_folder
from mlcnn.errors import InputError
from mlcnn.passes import restore
from mlcnn.passes.spelling import spelled_out
from mlcnn.report import write_compression
from mlcnn.training import Data, Recipe

__all__ = ["SkipOptions", "skip", "skip_recipe"]

_METHODS = {
    "exit": exits,
    "focus": focusing,
    "select": selecting,
    "bits": narrow,
    "bits+exit": narrow_with_exits,
    "auto": combined,
}
_TRAINED = ("exit", "focus")


def skip_recipe(method: str) -> Recipe:
    """How ``--finetune`` of a method trains, where nothing else is asked for."""
    return MASKING_RECIPE if method == "focus" else SKIP_RECIPE


def skip(
    source: Source,
    data: "Data | str | PathLike[str]",
    skipping: SkipOptions | None = None,
    *,
    max_drop: float | None = None,
    images: ImageOptions | None = None,
    evaluating: EvaluateOptions | None = None,
    measure: bool = True,
    finetune: TrainOptions | None = None,
    folder: "str | PathLike[str] | None" = None,
    weights: "str | PathLike[str] | None" = None,
    command: str = "",
    progress: Progress | None = None,
    notice: Callable[[str], None] | None = None,
) -> Dynamic:
    """Leave out what single images do not need of a trained network.

    The network stays as it is. Images leave it early where a first head is sure of them (heads are
    linear, on averages over regions, fitted to training images), or convolutions compute the
    positions alone that a mask of the image keeps. Thresholds are chosen on images that nothing was
    trained on, checked on others, and reported on others still.

    Args:
        source: see ``load``: a trained network.
        data: labelled images; see ``training.open_data``.
        skipping: how far, and by what.
        max_drop: in place of that of ``skipping``.
        images: how the images go to the network.
        evaluating: on which accelerators energy is evaluated; choices are made by the first one's.
            None for none.
        measure: measure the latency of real images, one by one.
        finetune: how the network trains first, with the original as teacher: with the heads of
            method ``exit``, under the masks of ``focus``; None: the network stays as it is.
        folder: where checkpoints, the record and the report go; None for nowhere.
        weights: see ``load``.
        command: what the report names as the command that repeats the run.
        progress: told how the work goes on.
        notice: told what the user should know.

    Returns:
        The network of standard operators that leaves work out, and what it costs.

    Raises:
        InputError: the source, the data or an option cannot be used, or nothing meets the budget.

    Example:
        ``mlcnn.skip("shop.onnx", "photos/", max_drop=1).save("dynamic.onnx")``
    """
    chosen = skipping or SkipOptions()
    chosen = chosen if max_drop is None else replace(chosen, max_drop=max_drop)
    tell, say = progress or silent, notice or _quiet
    machines = None if evaluating is None else evaluating.load()
    if chosen.objective == "energy" and machines is None:
        raise InputError("--objective energy: name the accelerator, as --on mlcnn-int8")
    if chosen.beside:
        load(chosen.beside)  # a mistake is told before anything runs
    tell("read images", 0, 0)
    with told_how_many(chosen.max_drop):
        opened, normal, note = (images or ImageOptions()).open(data, source)
    if note:
        say(note)
    model = load(source, weights=weights, dropout=True, image_shape=opened.image_shape)
    require_network(model, model_name(source), chosen.method)
    require_classifier(model, opened)
    if finetune is not None and chosen.method not in _TRAINED:
        raise InputError(
            f"--finetune: --method {chosen.method} trains nothing; {' and '.join(_TRAINED)} do"
        )
    folded = rewrite(graph.without_dropout(model), "fold-batch-norm", progress=tell).model
    if chosen.method == "focus":
        folded = spelled_out(folded)
    work = Work(folded, opened, normal, chosen, machines, measure, tell, say)

    def run(path: Path | None) -> Dynamic:
        whole = restore(model, lowered=True)
        together = None if finetune is None else Together(whole, finetune, path)
        with_whole = replace(work, together=together, whole=whole)
        done = _METHODS[chosen.method](with_whole, model_name(source))
        if path is not None:
            _write(done, work, path, command)
        return done

    if folder is None:
        return run(None)
    with results_folder(Path(folder)) as path:
        return run(path)


def _write(done: Dynamic, work: Work, folder: Path, command: str) -> None:
    write_result(folder, {**done.to_json(), "skip": asdict(work.options)})
    facts = (("images", work.data.name), ("machine", machine()))
    write_compression(
        folder / "report.html", done.name, done.frontier, done.shown(),
        heading="What an image costs", facts=facts, command=command,
    )  # fmt: skip


def _quiet(message: str) -> None:
    del message
