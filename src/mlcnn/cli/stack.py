"""``mlcnn stack``: several methods on one network, one after the other."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

import mlcnn
from mlcnn.cli.options import Imaging, MeasuringTrained, Printing, Training
from mlcnn.cli.output import complain, console, print_json

if TYPE_CHECKING:
    from mlcnn.api import Stacked

__all__ = ["stack"]


def stack(
    model: str,
    /,
    *,
    data: str,
    steps: str,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    weights: Path | None = None,
    teacher_weight: float = 0.9,
    temperature: float = 4.0,
    measure: Annotated[bool, Parameter(negative="--no-measure")] = True,
    training: Training = Training(),
    imaging: Imaging = Imaging(),
    measuring: MeasuringTrained = MeasuringTrained(),
    printing: Printing = Printing(),
) -> None:
    """Make a trained network cheaper by several methods, one after the other.

    The original teaches in every step that trains. The same command goes on where it was
    interrupted; steps that another stack began with are not done again.

    Args:
        model: zoo name, .onnx or .pt2 file, or package.module:callable, with trained weights.
        data: as for `mlcnn train`.
        steps: the methods in order, with what they leave open in braces, as
            "average-pools,channels{share=0.5},int8,exits"; `mlcnn list steps` has them.
        out: the file to write; NAME-stacked.onnx by default. What each step came to goes to a
            folder of the same name.
        weights: .npz of weights by parameter name, for a zoo network.
        teacher_weight: share of the loss that is what the original network says, not the labels.
        temperature: by which the logits are divided for it.
        measure: measure the speed before and after.
        training: how to train; --epochs for each step that trains.
        imaging: how the images go to the network.
        measuring: on what to measure.
        printing: what is printed.
    """
    path = out or Path(f"{mlcnn.api.model_name(model)}-stacked.onnx")
    path = mlcnn.api.check_output(path, model)
    with training.session("stack") as (_, device, tell):
        done = mlcnn.api.stack(
            model,
            data,
            steps,
            options=training.options(mlcnn.api.STACK_RECIPE, device),
            images=imaging.options(),
            teaching=mlcnn.api.Teaching(teacher_weight, temperature),
            measuring=measuring.options() if measure else None,
            folder=path.with_suffix(""),
            weights=weights,
            progress=tell,
            notice=complain,
        )
        done.save(path)
    if printing.json:
        print_json({"output": str(path), **done.to_json()})
        return
    _print(done, path)


def _print(done: "Stacked", path: Path) -> None:
    parts = [done.shown().text()]
    if done.bench is not None:
        parts += ["", done.bench.shown().text()]
    parts.append(f"written: {path}")
    console().print(*parts, sep="\n", markup=False, soft_wrap=True)
