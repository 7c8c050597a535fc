"""``mlcnn compress``: a smaller network within a budget of accuracy."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

import mlcnn
from mlcnn.cli.options import Imaging, Measuring, Printing, Training
from mlcnn.cli.output import complain, console, print_json

if TYPE_CHECKING:
    from mlcnn.api import Compressed

__all__ = ["compress"]


def compress(
    model: str,
    /,
    *,
    data: str,
    max_drop: float | None = None,
    budget: str | None = None,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    method: str = "all",
    objective: Literal["parameters", "multiplications", "latency", "energy"] = "parameters",
    attempts: int = 3,
    ends: bool = False,
    importance: Literal["l2", "l1", "taylor"] = "l2",
    multiple: int = 8,
    evenly: bool = False,
    basis: str = "auto",
    group_penalty: float = 0.0,
    basis_training: Literal["joint", "alternate"] = "joint",
    sensitivity: bool = False,
    weights: Path | None = None,
    teacher_weight: float = 0.9,
    temperature: float = 4.0,
    measure: Annotated[bool, Parameter(negative="--no-measure")] = True,
    on: str = "mlcnn-fp32",
    technology: str | None = None,
    training: Training = Training(),
    imaging: Imaging = Imaging(),
    measuring: Measuring = Measuring(),
    printing: Printing = Printing(),
) -> None:
    """Make a trained network smaller while it trains, with the original as its teacher.

    Each method trains the network several times, down to sizes that close in on the smallest one
    within the budget. The same command goes on where it was interrupted.

    Args:
        model: zoo name, .onnx or .pt2 file, timm:NAME, hf:ORG/NAME, or package.module:callable,
            with trained weights; one that was compressed before is made smaller still.
        data: as for `mlcnn train`.
        max_drop: percentage points of accuracy that may be lost on the validation images.
        budget: how much smaller the network is to be, in place of a search: 4x (parameters) or
            multiplications=2x.
        out: the file to write; NAME-compressed.onnx by default. Checkpoints, the curve and the
            report go to a folder of the same name.
        method: weights (single ones), channels (whole ones), shared-kernels (sums of a few, of
            which single coefficients go), or all, by the same recipe.
        objective: what is to be small. While it trains, latency and energy go by multiplications;
            they are measured in the end.
        attempts: networks that are trained at most, for each method.
        ends: let single weights of the first and of the last layer go too.
        importance: what channels are judged by: the size of their weights, or what the loss
            loses without them.
        multiple: of the channels that stay in each group; engines compute them in blocks.
        evenly: let the same share of every block's inner channels go, in place of the least
            important of all, and leave residual streams as wide as they are.
        basis: how many kernels each layer shares, as 5 or 5+conv1=4; auto finds for each
            layer how many, or none, lose least for what they cost.
        group_penalty: shrink whole channels while it trains, by this times the sum of the lengths
            of their weights, as 1e-4; what falls away goes out, in the blocks of --multiple.
        basis_training: joint, with the coefficients, which go one by one; alternate, in turn with
            them, as in PENNI, and the coefficients that go do so at once.
        sensitivity: judge each layer alone first: what half of it saves and costs, untrained.
        weights: .npz of weights by parameter name, for a zoo network.
        teacher_weight: share of the loss that is what the original network says, not the labels.
        temperature: by which the logits are divided for it.
        measure: measure the speed before and after.
        on: accelerator of the energy.
        technology: energy and area tables; see `mlcnn evaluate`.
        training: how to train.
        imaging: how the images go to the network.
        measuring: on what to measure.
        printing: what is printed.
    """
    name = f"{mlcnn.api.model_name(model)}-compressed"
    path = mlcnn.api.check_output(out or Path(f"{name}.onnx"), model)
    compressing = mlcnn.CompressOptions(
        max_drop=max_drop,
        budget=budget,
        method=method,
        objective=objective,
        attempts=attempts,
        ends=ends,
        importance=importance,
        multiple=multiple,
        evenly=evenly,
        basis=basis,
        group_penalty=group_penalty,
        basis_training=basis_training,
        sensitivity=sensitivity,
    )
    with training.session("compress") as (_, device, tell):
        done = mlcnn.compress(
            model,
            data,
            compressing,
            options=training.options(mlcnn.api.COMPRESS_RECIPE, device),
            images=imaging.options(),
            teaching=mlcnn.api.Teaching(teacher_weight, temperature),
            measuring=measuring.options() if measure else None,
            evaluating=mlcnn.EvaluateOptions((on,), technology=technology),
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


def _print(done: "Compressed", path: Path) -> None:
    parts = [done.frontier.shown().text(), "", done.shown().text()]
    recommended = done.recommended_shown()
    if recommended is not None:
        parts += ["", recommended.text()]
    if done.bench is not None:
        parts += ["", done.bench.shown().text()]
    parts.append(f"written: {path}")
    console().print(*parts, sep="\n", markup=False, soft_wrap=True)
