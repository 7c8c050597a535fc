"""``mlcnn train``: train a network from scratch."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

import mlcnn
from mlcnn.cli.options import Imaging, Printing, Training
from mlcnn.cli.output import complain, console, print_json

__all__ = ["train"]


def train(
    model: str,
    /,
    *,
    data: str,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    pooling: Literal["max", "avg", "all-conv"] | None = None,
    order: Literal["original", "reordered"] = "original",
    passes: str | None = None,
    training: Training = Training(),
    imaging: Imaging = Imaging(),
    printing: Printing = Printing(),
) -> None:
    """Train a network from scratch on labelled images.

    The same command goes on where it was interrupted. `torchrun --nproc-per-node 2 -m mlcnn train`
    shares each batch among processes.

    Args:
        model: zoo name, .onnx or .pt2 file, timm:NAME, hf:ORG/NAME, or package.module:callable.
        data: folder of images in class folders; folder or archive of CIFAR, MNIST or SVHN; .npz or
            .mat file; package.module:callable that returns a torch data set; or cifar10, cifar100,
            mnist, svhn to download it.
        out: folder for the checkpoint, the table of epochs and the network; runs/NAME by default.
        pooling: pools of a zoo network.
        order: reordered puts activations behind average pools.
        passes: pipeline that rewrites the network before it is trained, as for `mlcnn optimize`.
        training: how to train.
        imaging: how the images go to the network.
        printing: what is printed.
    """
    with training.session() as (processes, device, tell):
        trained = mlcnn.api.train(
            model,
            data,
            training.options(mlcnn.training.Recipe(), device),
            imaging.options(),
            folder=out or Path("runs") / f"{mlcnn.api.model_name(model)}-trained",
            pooling=pooling,
            order=order,
            passes=passes,
            processes=processes,
            progress=tell,
            notice=complain,
        )
        if processes.rank:
            return
    if printing.json:
        print_json(trained.to_json())
        return
    low, high = trained.test.interval
    console().print(
        f"{trained.name}: {100 * trained.test.top1:.2f} % of {trained.test.images} test images "
        f"(95 % interval {100 * low:.2f} to {100 * high:.2f}), {trained.seconds / 60:.1f} minutes",
        f"written: {trained.folder / trained.name}.onnx",
        sep="\n", markup=False, soft_wrap=True,
    )  # fmt: skip
