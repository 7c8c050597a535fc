"""``mlcnn skip``: leave out what single images do not need."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

import mlcnn
from mlcnn.cli.options import Imaging, Printing, Training
from mlcnn.cli.output import complain, console, print_json

if TYPE_CHECKING:
    from mlcnn.api import Dynamic

__all__ = ["skip"]


def skip(
    model: str,
    /,
    *,
    data: str,
    max_drop: float = 1.0,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    method: Literal["exit", "focus", "select", "bits", "bits+exit", "auto"] = "exit",
    objective: Literal["multiplications", "energy"] = "multiplications",
    exits: int = 1,
    beside: Path | None = None,
    choose_on: Literal["auto", "validation", "test"] = "auto",
    weights: Path | None = None,
    measure: Annotated[bool, Parameter(negative="--no-measure")] = True,
    finetune: bool = False,
    keep: float = 0.6,
    on: tuple[str, ...] = ("mlcnn-fp32",),
    technology: str | None = None,
    training: Training = Training(),
    imaging: Imaging = Imaging(),
    printing: Printing = Printing(),
) -> None:
    """Leave out of a trained network what an image does not need, without training unless asked.

    Saved is a network of standard operators that leaves the rest out, at any batch. Accuracy and
    cost are those of images that nothing was chosen on, the cost as a distribution over them.

    Args:
        model: zoo name, .onnx or .pt2 file, timm:NAME, hf:ORG/NAME, or package.module:callable,
            with trained weights.
        data: as for `mlcnn train`.
        max_drop: percentage points of accuracy that may be lost.
        out: the file to write; NAME-dynamic.onnx by default. The record and the report go to a
            folder of the same name.
        method: what is left out: exit, all that lies behind a head that is sure of an image; focus,
            the positions that a mask of the image does not keep; bits, 2 to 8 for each layer, which
            saves energy (--on dcnn-int8-scaled, for one); bits+exit; select, behind a head
            the channels that its candidate classes need; or auto, each of these and the best one
            with a second one.
        objective: what is to be small on average.
        exits: at most so many, 1 or 2.
        beside: a network that `mlcnn compress` made, for exit and select to be compared with; by
            default whole channels go until the cost is equal, and nothing is trained.
        choose_on: images for the thresholds. They must be new to the network: where it knows the
            validation images, `auto` takes half of the test images and reports the other half.
        weights: .npz of weights by parameter name, for a zoo network.
        measure: measure the latency of real images, one by one, in ONNX Runtime.
        finetune: train first, with the original as teacher: heads and network together, or the
            network under the masks of focus.
        keep: share of the multiplications that masks of focus keep while the network trains.
        on: accelerator of the energy. Repeat it for more; choices are made by the first one's.
        technology: energy and area tables; see `mlcnn evaluate`.
        training: how to train, with --finetune.
        imaging: how the images go to the network.
        printing: what is printed.
    """
    name = f"{mlcnn.api.model_name(model)}-dynamic"
    path = mlcnn.api.check_output(out or Path(f"{name}.onnx"), model)
    with training.session() as (_, device, tell):
        done = mlcnn.skip(
            model,
            data,
            mlcnn.SkipOptions(
                max_drop, objective, exits, choose_on, method, str(beside or ""), keep
            ),
            images=imaging.options(),
            evaluating=mlcnn.EvaluateOptions(on, technology=technology, batch=1),
            measure=measure,
            finetune=training.options(mlcnn.api.skip_recipe(method), device) if finetune else None,
            folder=path.with_suffix(""),
            weights=weights,
            command=shlex.join(["mlcnn", *sys.argv[1:]]),
            progress=tell,
            notice=complain,
        )
        done.save(path)
    if printing.json:
        print_json({"output": str(path), **done.to_json()})
        return
    _print(done, path)


def _print(done: "Dynamic", path: Path) -> None:
    parts = [done.frontier.shown().text(), "", done.shown().text(), f"written: {path}"]
    console().print(*parts, sep="\n", markup=False, soft_wrap=True)
