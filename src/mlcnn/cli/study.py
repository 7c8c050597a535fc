"""``mlcnn study``: train the paper's networks in all their forms."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

import mlcnn
from mlcnn.cli.options import Printing
from mlcnn.cli.output import complain, console, print_json, progress

__all__ = ["study"]


def study(
    *networks: str,
    data: tuple[str, ...],
    out: Annotated[Path, Parameter(alias="-o")] = Path("runs/study"),
    form: tuple[Literal["original", "reordered", "all-conv", "max"], ...] = (),
    precision: tuple[Literal["fp32", "fp16", "int8", "w4a4", "w2a2"], ...] = ("fp32",),
    seeds: int = 5,
    epochs: int | None = None,
    limit: int | None = None,
    device: str = "cpu",
    bf16: bool = False,
    threads: int | None = None,
    checkpoint_seconds: float = 60.0,
    printing: Printing = Printing(),
) -> None:
    """Train the networks of the paper's study in all their forms, one record a run.

    The same command goes on where it was interrupted, and trains only what has no record.
    `mlcnn reproduce figure-3 --runs FOLDER` shows the result.

    Args:
        networks: lenet5, vgg16, vgg19, googlenet, densenet_cifar, resnet18 or resnet20.
        data: CIFAR-10 or CIFAR-100, as `mlcnn train` takes them. Repeat it for more.
        out: folder for the records, one .json a run, and for checkpoints.
        form: of the network; all that it has by default. Repeat it for more.
        precision: of the network; all but fp32 start from its weights. Repeat it for more.
        seeds: how many runs of each, from seed 0 on.
        epochs: instead of those of the recipe.
        limit: at most so many training images, for a quick try.
        device: cpu, or cuda.
        bf16: compute convolutions and products in bfloat16 while training.
        threads: of torch on the processor; all by default.
        checkpoint_seconds: between checkpoints.
        printing: what is printed.
    """
    mlcnn.training.set_threads(threads)
    kind = mlcnn.training.Precision.BF16 if bf16 else mlcnn.training.Precision.FP32
    options = mlcnn.api.StudyOptions(
        networks, form, precision, tuple(range(seeds)), epochs, limit,
        mlcnn.training.Hardware(device, kind), checkpoint_seconds,
    )  # fmt: skip
    with progress() as tell:
        runs = mlcnn.api.study(data, options, folder=out, progress=tell, notice=complain)
    if printing.json:
        print_json({"runs": [{"name": run.name, "top1": run.top1} for run in runs]})
        return
    console().print(f"{len(runs)} runs: {out}", markup=False, soft_wrap=True)
