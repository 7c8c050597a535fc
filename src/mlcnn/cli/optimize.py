"""``mlcnn optimize``: rewrite a network, verify it, and save it."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

import mlcnn
from mlcnn.cli.options import Imaging, Loading, Measuring, Printing, Rewriting
from mlcnn.cli.output import complain, console, print_json, progress, show
from mlcnn.errors import InputError

if TYPE_CHECKING:
    from mlcnn.api import Comparison, Swap

__all__ = ["optimize"]


def optimize(
    model: str,
    /,
    *,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    dry_run: bool = False,
    functions: bool = False,
    sparse_file: bool = False,
    input_: Annotated[Path | None, Parameter(name="--input")] = None,
    verify: Annotated[bool, Parameter(negative="--no-verify")] = True,
    measure: Annotated[bool, Parameter(negative="--no-measure")] = True,
    data: str | None = None,
    max_drop: float | None = None,
    imaging: Imaging = Imaging(),
    loading: Loading = Loading(),
    rewriting: Rewriting = Rewriting(),
    measuring: Measuring = Measuring(),
    printing: Printing = Printing(),
) -> None:
    """Rewrite a network, verify the result, and save it.

    Args:
        model: zoo name, .onnx or .pt2 file, timm:NAME, hf:ORG/NAME, or package.module:callable.
        output: the file to write; NAME-mlcnn.onnx in the current directory by default.
        dry_run: say what would be done, and why not elsewhere; write nothing.
        functions: keep fused operators as functions instead of standard operators.
        sparse_file: keep of weights what is not zero, where that is smaller; ONNX Runtime reads
            such a file, OpenVINO does not.
        input_: .npz of arrays by input name; the outputs before and after are compared on them.
        verify: check every exact rewrite at its site, and the whole network in ONNX Runtime; what
            fails is left alone.
        measure: choose the form of each site by time on this machine, not by an estimate.
        data: labelled images, as for `mlcnn train`; with --max-drop.
        max_drop: percentage points of accuracy that may be lost on the validation images, without
            training; keeps only the swaps that it affords.
        imaging: how the images go to the network.
        loading: how to load the network.
        rewriting: which passes run.
        measuring: on what to measure; the first engine and batch size count.
        printing: what is printed.
    """
    path = _output(model, output, dry_run=dry_run)
    options = rewriting.options()
    with progress() as tell:
        tell("load", 0, 0)
        weights = loading.weights
        if weights is None and data is None:  # tuned weights are of other swaps than data choose
            weights = mlcnn.api.tuned_weights(model, options)
        network = mlcnn.load(model, input_shape=loading.shape, weights=weights)
        kept: tuple[Swap, ...] = ()
        if data is not None or max_drop is not None:
            network, options, kept = mlcnn.api.within_budget(
                model,
                network,
                options,
                data=data,
                max_drop=max_drop,
                images=imaging.options(),
                chooser=mlcnn.api.chooser_for(network, measuring.options(chosen=measure)),
                progress=tell,
            )
        arrays = None if input_ is None else mlcnn.api.read_inputs(input_, network)
        optimized = mlcnn.api.rewrite(
            network,
            mlcnn.api.default_passes(model),
            options,
            check=verify,
            inputs=() if arrays is None else (arrays,),
            chooser=mlcnn.api.chooser_for(network, measuring.options(chosen=measure)),
            progress=tell,
        )
        gain = mlcnn.api.potential(optimized)
        compared = None if arrays is None else mlcnn.api.compare(optimized, arrays)
        as_it_was = path is not None and optimized.save(
            path, functions=functions, sparse=sparse_file
        )
    if not optimized.changed:
        complain(mlcnn.api.nothing_to_gain(gain))
    if printing.json:
        document = {"output": None if path is None else str(path), **optimized.to_json()}
        document["potential"] = None if gain is None else asdict(gain)
        document["input"] = None if compared is None else compared.to_json()
        document["swaps"] = [swap.to_json() for swap in kept]
        print_json(document)
        return
    origin = mlcnn.api.Origin(mlcnn.api.model_name(model), model)
    show(mlcnn.api.terminal(mlcnn.api.summarise(optimized, origin, potential=gain)))
    console().print(optimized.verified, markup=False, soft_wrap=True)
    for swap in kept:
        console().print(swap.told, markup=False, soft_wrap=True)
    _print_comparison(compared)
    if path is not None:
        what = f"nothing to do, written as it was: {path}" if as_it_was else f"written: {path}"
        console().print(what, soft_wrap=True, markup=False)


def _output(model: str, output: Path | None, *, dry_run: bool) -> Path | None:
    """The file to write, checked; None for a dry run."""
    if dry_run and output is not None:
        raise InputError(f"--output {output}: --dry-run writes nothing; leave one of them away")
    if dry_run:
        return None
    path = output or Path(f"{mlcnn.api.model_name(model)}-mlcnn.onnx")
    return mlcnn.api.check_output(path, model)


def _print_comparison(compared: "Comparison | None") -> None:
    for row in compared.outputs if compared else ():
        console().print(
            f"on the given input, output {row.name} differs by {row.max_difference:.2e} at most, "
            f"{row.relative:.1e} of its largest value",
            markup=False,
            soft_wrap=True,
        )
