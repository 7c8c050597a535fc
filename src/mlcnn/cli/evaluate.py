"""``mlcnn evaluate``: a network on an accelerator, against another machine or network."""

from typing import Annotated

from cyclopts import Parameter

import mlcnn
from mlcnn.cli.options import Against, Imaging, Loading, Printing, Rewriting
from mlcnn.cli.output import print_json, print_per_image, progress, show
from mlcnn.errors import InputError

__all__ = ["evaluate"]

_ACCELERATOR = Parameter(group="Accelerator")


def evaluate(
    model: str,
    /,
    *,
    on: Annotated[str, _ACCELERATOR] = "mlcnn-fp32",
    batch: Annotated[int | None, _ACCELERATOR] = None,
    data: str | None = None,
    imaging: Imaging = Imaging(),
    against: Against = Against(),
    loading: Loading = Loading(),
    rewriting: Rewriting = Rewriting(),
    printing: Printing = Printing(),
) -> None:
    """Estimate cycles, energy and area of a network on an accelerator, against another machine.

    Args:
        model: zoo name, .onnx or .pt2 file, timm:NAME, hf:ORG/NAME, or package.module:callable.
        on: accelerator, as mlcnn-fp32, mlcnn-fp16 or mlcnn-int8, or your own .yaml file.
        batch: images; 16 by default, or what the network is fixed to.
        data: images, as for `mlcnn run`: what they take on the accelerator in a network that leaves
            work out.
        imaging: how the images go to the network.
        against: what it is compared with: a machine, or another network on the same machine.
        loading: how to load the network.
        rewriting: which passes run; every layer is fused that can be.
        printing: what is printed.
    """
    with progress() as tell:
        result = mlcnn.evaluate(
            model,
            rewriting.options(),
            on=on,
            against=against.against,
            batch=batch,
            technology=against.technology,
            input_shape=loading.shape,
            weights=loading.weights,
            progress=tell,
        )
        each = None
        if data is not None:
            if isinstance(result, mlcnn.accelerators.NetworkComparison):
                raise InputError(
                    "--data: what images take is found of one network; leave "
                    "--against away, or name a machine"
                )
            each = mlcnn.api.energy_per_image(
                model,
                data,
                imaging.options(),
                rewriting.options(),
                on=on,
                batch=batch,
                technology=against.technology,
                weights=loading.weights,
                progress=tell,
            )
    if printing.json:
        print_json(result.to_json() | ({} if each is None else {"per_image": each.to_json()}))
        return
    if isinstance(result, mlcnn.accelerators.NetworkComparison):
        show(mlcnn.api.network_tables(result))
    else:
        show(mlcnn.api.evaluation_tables(result, mlcnn.api.model_name(model)))
    print_per_image(each)
