"""``mlcnn run``: the main job."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import mlcnn
from mlcnn.cli.options import Against, Imaging, Loading, Measuring, Printing, Rewriting
from mlcnn.cli.output import complain, console, print_json, progress, show

__all__ = ["run"]

_ACCELERATOR = Parameter(group="Accelerator")


def run(
    model: str,
    /,
    *,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    data: str | None = None,
    functions: bool = False,
    netron: bool = False,
    measure: Annotated[bool, Parameter(negative="--no-measure")] = True,
    evaluate: Annotated[bool, _ACCELERATOR, Parameter(negative="--no-evaluate")] = True,
    on: Annotated[tuple[str, ...], _ACCELERATOR] = ("mlcnn-fp32", "mlcnn-fp16", "mlcnn-int8"),
    on_batch: Annotated[int | None, _ACCELERATOR] = None,
    against: Against = Against(),
    imaging: Imaging = Imaging(),
    loading: Loading = Loading(),
    rewriting: Rewriting = Rewriting(),
    measuring: Measuring = Measuring(),
    printing: Printing = Printing(),
) -> None:
    """Rewrite, verify, count, evaluate and measure a network; write a report and the network.

    Args:
        model: zoo name, .onnx or .pt2 file, timm:NAME, hf:ORG/NAME, or package.module:callable.
        output: folder for report.html and the network; runs/NAME by default.
        data: labelled images for the accuracy, as for `mlcnn train`; test images count, or all
            where there is no such part.
        functions: keep fused operators as functions instead of standard operators.
        netron: open the rewritten network in Netron afterwards, where that is installed.
        measure: measure latencies, and choose the form of each site by time.
        evaluate: estimate cycles, energy and area on accelerators.
        on: accelerator, as mlcnn-fp32, or your own .yaml file. Repeat it for more.
        on_batch: images on the accelerators; 16 by default, or what the network is fixed to.
        against: what the accelerators are compared with.
        imaging: how the images go to the network.
        loading: how to load the network.
        rewriting: which passes run.
        measuring: on what to measure.
        printing: what is printed.
    """
    if netron:
        mlcnn.api.require_netron("the rewritten network")
    with progress() as tell:
        result = mlcnn.run(
            model,
            rewriting.options(),
            measuring.options() if measure else None,
            against.options(on, on_batch) if evaluate else None,
            directory=output,
            input_shape=loading.shape,
            weights=loading.weights,
            data=data,
            images=imaging.options(),
            functions=functions,
            command=shlex.join(["mlcnn", *sys.argv[1:]]),
            progress=tell,
            notice=complain,
        )
    if printing.json:
        print_json(result.to_json())
    else:
        show(mlcnn.api.terminal(result.summary))
        console().print(f"report: {result.report}", soft_wrap=True, markup=False)
        console().print(f"network: {result.output}", soft_wrap=True, markup=False)
    if netron:
        mlcnn.api.show_in_netron(result.output, wait=True)
