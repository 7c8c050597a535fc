"""``mlcnn finetune``: approximate passes on a trained network, and its accuracy back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

import mlcnn
from mlcnn.cli.options import Imaging, MeasuringTrained, Printing, Training
from mlcnn.cli.output import complain, console, print_json
from mlcnn.errors import InputError

if TYPE_CHECKING:
    from mlcnn.api import Finetuned

__all__ = ["finetune"]


def finetune(
    model: str,
    /,
    *,
    data: str,
    passes: str = "max-to-average,reorder",
    max_drop: float | None = None,
    budget: str | None = None,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    weights: Path | None = None,
    teacher_weight: float = 0.9,
    temperature: float = 2.0,
    measure: Annotated[bool, Parameter(negative="--no-measure")] = True,
    training: Training = Training(),
    imaging: Imaging = Imaging(),
    measuring: MeasuringTrained = MeasuringTrained(),
    printing: Printing = Printing(),
) -> None:
    """Rewrite a trained network by approximate passes and recover its accuracy on your images.

    The same command goes on where it was interrupted.

    Args:
        model: zoo name, .onnx or .pt2 file, timm:NAME, hf:ORG/NAME, or package.module:callable,
            with trained weights.
        data: as for `mlcnn train`.
        passes: pipeline with approximate passes; all exact passes run after the training.
        max_drop: percentage points of accuracy that may be lost on the validation images; keeps
            only the swaps that it affords, and says what each costs and saves.
        budget: how much smaller or faster the network is to be, by passes with a size for each
            layer: 4x (parameters), multiplications=3x, or time=2x on the fastest of the engines;
            or accuracy-drop=0.5, percentage points that may be lost before the training; chooses
            the sizes.
        out: folder for the checkpoint, the table of epochs and the networks; runs/NAME-finetuned by
            default.
        weights: .npz of weights by parameter name, for a zoo network.
        teacher_weight: share of the loss that is what the original network says, not the labels.
        temperature: by which the logits are divided for it.
        measure: choose forms by time on this machine, and measure the speed before and after.
        training: how to train.
        imaging: how the images go to the network.
        measuring: on what to measure.
        printing: what is printed.
    """
    if not measure and (budget or "").startswith("time="):
        raise InputError(f"--budget {budget}: times are measured; leave --no-measure out")
    with training.session() as (processes, device, tell):
        done = mlcnn.api.finetune(
            model,
            data,
            passes=passes,
            max_drop=max_drop,
            budget=budget,
            options=training.options(mlcnn.api.FINETUNE_RECIPE, device),
            images=imaging.options(),
            teaching=mlcnn.api.Teaching(teacher_weight, temperature),
            measuring=measuring.options() if measure and not processes.rank else None,
            folder=out or Path("runs") / f"{mlcnn.api.model_name(model)}-finetuned",
            weights=weights,
            processes=processes,
            progress=tell,
            notice=complain,
        )
        if processes.rank:
            return
    if printing.json:
        print_json(done.to_json())
        return
    _print(done)


def _print(done: "Finetuned") -> None:
    parts = [done.shown().text(), *(swap.told for swap in done.swaps)]
    if done.bench is not None:
        parts.append(done.bench.shown().text())
    if done.folder is not None:
        parts.append(f"written: {done.folder / done.name}.onnx")
    console().print(*parts, sep="\n", markup=False, soft_wrap=True)
