"""``mlcnn optimize``: rewrite a network, verify it, and save it."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

import mlcnn
from mlcnn.cli.options import Loading, Printing, Rewriting
from mlcnn.cli.output import complain, console, print_json, progress
from mlcnn.errors import InputError

if TYPE_CHECKING:
    from mlcnn.api import Comparison

__all__ = ["optimize"]


def optimize(
    model: str,
    /,
    *,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    dry_run: bool = False,
    functions: bool = False,
    input_: Annotated[Path | None, Parameter(name="--input")] = None,
    verify: Annotated[bool, Parameter(negative="--no-verify")] = True,
    loading: Loading = Loading(),  # noqa: B008 - frozen
    rewriting: Rewriting = Rewriting(),  # noqa: B008 - frozen
    printing: Printing = Printing(),  # noqa: B008 - frozen
) -> None:
    """Rewrite a network, verify the result, and save it.

    Args:
        model: zoo name, .onnx or .pt2 file, or package.module:callable.
        output: the file to write; NAME-mlcnn.onnx in the current directory by default.
        dry_run: say what would be done, and why not elsewhere; write nothing.
        functions: keep fused operators as functions instead of standard operators.
        input_: .npz of arrays by input name; the outputs before and after are compared on them.
        verify: check every exact rewrite at its site.
        loading: how to load the network.
        rewriting: which passes run.
        printing: what is printed.
    """
    path = _output(model, output, dry_run=dry_run)
    options = rewriting.options()
    with progress() as tell:
        tell("load", 0, 0)
        network = mlcnn.load(model, input_shape=loading.shape, weights=loading.weights)
        arrays = None if input_ is None else mlcnn.api.read_inputs(input_, network)
        passes = mlcnn.api.default_passes(model)
        optimized = mlcnn.api.rewrite(network, passes, options, check=verify, progress=tell)
        gain = mlcnn.api.potential(optimized)
        compared = None if arrays is None else mlcnn.api.compare(optimized, arrays)
        if path is not None:
            optimized.save(path, functions=functions)
    if printing.json:
        document = {"output": None if path is None else str(path), **optimized.to_json()}
        document["potential"] = None if gain is None else asdict(gain)
        document["input"] = None if compared is None else compared.to_json()
        print_json(document)
        return
    origin = mlcnn.api.Origin(mlcnn.api.model_name(model), model)
    console().print(mlcnn.api.terminal(mlcnn.api.summarise(optimized, origin, potential=gain)))
    _print_comparison(compared)
    if path is not None:
        console().print(f"written: {path}", soft_wrap=True, markup=False)
    if not optimized.fused:
        complain(mlcnn.api.nothing_to_gain(gain))


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
