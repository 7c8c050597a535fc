"""``mlcnn deploy``: a network as a C library."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

import mlcnn
from mlcnn.cli.options import Loading, Printing, Rewriting
from mlcnn.cli.output import complain, console, print_json, progress

if TYPE_CHECKING:
    from mlcnn.api import Deployed

__all__ = ["deploy"]

_MEGA = 1e6


def deploy(
    model: str,
    /,
    *,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    name: str | None = None,
    march: str = "native",
    algorithm: str | None = None,
    batch: int | None = None,
    threads: int = 1,
    verify: Annotated[bool, Parameter(negative="--no-verify")] = True,
    measure: Annotated[bool, Parameter(negative="--no-measure")] = True,
    loading: Loading = Loading(),
    rewriting: Rewriting = Rewriting(),
    printing: Printing = Printing(),
) -> None:
    """Write what the engine native runs as a C library, with a custom operator for ONNX Runtime.

    Args:
        model: zoo name, .onnx or .pt2 file, or package.module:callable.
        output: the folder; NAME-c in the current directory by default. It must be new, empty, or
            what this command wrote there and nobody changed since.
        name: of the functions and files, in C; made of the network's by default.
        march: the processor, as gcc names it, as x86-64-v3; one that this machine can run.
        algorithm: how convolutions are computed, measured (the default), auto (by a model of this
            machine), direct, winograd, sparse, bits, or a file that `mlcnn bench --json` wrote.
        batch: images of a run; 1, or what the network is fixed to, by default.
        threads: threads of a run; more than one needs OpenMP.
        verify: compile the library here and compare its outputs with the engine native's.
        measure: choose the form of each site by time on this machine, not by an estimate.
        loading: how to load the network.
        rewriting: which passes run.
        printing: what is printed.
    """
    options = mlcnn.api.DeployOptions(name, march, algorithm, batch, threads, measure, verify)
    with progress() as tell:
        deployed = mlcnn.deploy(
            model,
            output or Path(f"{mlcnn.api.model_name(model)}-c"),
            rewriting.options(),
            options,
            input_shape=loading.shape,
            weights=loading.weights,
            progress=tell,
        )
    for note in deployed.notes:
        complain(f"warning: {note}")
    if printing.json:
        print_json(deployed.to_json())
        return
    for line in _told(deployed):
        console().print(line, markup=False, soft_wrap=True)


def _told(deployed: "Deployed") -> list[str]:
    plan, lines = deployed.plan, list[str]()
    if deployed.optimized is not None:
        lines.append(deployed.optimized.verified)
    lines.append(
        f"weights {plan.constants.nbytes / _MEGA:.3g} MB, a context "
        f"{plan.context_bytes / _MEGA:.3g} MB, batch {deployed.batch}, for -march={plan.march}"
    )
    checked = deployed.checked
    if checked is None:
        lines.append("not compiled: --no-verify")
    else:
        lines.append(
            f"compiled by {checked.compiler}: {_agreement(checked.difference)}; shared "
            f"library {checked.binary_bytes / _MEGA:.3g} MB, of it code "
            f"{checked.code_bytes / 1e3:.0f} kB"
        )
    lines.append(
        f"written: {deployed.folder}/ ({deployed.name}.h, CMakeLists.txt, main.c; "
        f"{deployed.name}_onnxruntime.onnx for ONNX Runtime)"
    )
    return lines


def _agreement(difference: float) -> str:
    if not difference:
        return "equal to the engine native bit for bit"
    return f"differs from the engine native by {difference:.1e} of the largest output"
