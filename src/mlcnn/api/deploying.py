"""A network as a C library that needs neither Python nor mlcnn."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path

import onnx_ir as ir

import mlcnn
from mlcnn.api.benchmarking import MeasureOptions, chooser_for, fixed_batch
from mlcnn.api.loading import ExampleInput, Rewritten, Source, load, model_name
from mlcnn.api.memory import require_memory_for_run
from mlcnn.api.optimized import Optimized
from mlcnn.api.optimizing import (
    Progress,
    default_passes,
    require_no_rewrite,
    rewrite,
    silent,
    tuned_weights,
)
from mlcnn.api.options import NO_REWRITE, RewriteOptions
from mlcnn.engines import LayerAlgorithm, fixed_shapes
from mlcnn.engines.native import deploying
from mlcnn.errors import InputError

__all__ = ["DeployOptions", "Deployed", "deploy"]


@dataclass(frozen=True, slots=True)
class DeployOptions:
    """What a library is made for.

    Attributes:
        name: of its functions and files, in C; made of the network's by default.
        march: the processor, as gcc names it; one that this machine can run.
        algorithm: how convolutions are computed, see ``Native``; by measured time by default.
        batch: images of a run; by default 1, or the batch that the network is fixed to.
        threads: of a run; more than one needs OpenMP.
        chosen: whether ``auto`` chooses forms of sites by measured time, not by an estimate.
        check: compile the library here and compare its outputs with the engine ``native``'s.
    """

    name: str | None = None
    march: str = "native"
    algorithm: str | None = None
    batch: int | None = None
    threads: int = 1
    chosen: bool = True
    check: bool = True


@dataclass(frozen=True, eq=False, slots=True)
class Deployed:
    """What ``deploy`` wrote.

    Attributes:
        folder: of the library.
        name: of its functions and files.
        plan: what it runs.
        batch: images of a run.
        checked: what compiling it here gave; None where it was not asked for.
        optimized: the rewrite; None where the network was rewritten before.
    """

    folder: Path
    name: str
    plan: deploying.Plan
    batch: int
    checked: deploying.Checked | None
    optimized: Optimized | None

    @property
    def algorithms(self) -> tuple[LayerAlgorithm, ...]:
        """How each convolution is computed."""
        return self.plan.algorithms

    @property
    def notes(self) -> tuple[str, ...]:
        """What makes it slower than it could be."""
        return self.plan.notes

    def to_json(self) -> dict[str, object]:
        """What ``mlcnn deploy --json`` prints."""
        return {
            "output": str(self.folder),
            "name": self.name,
            "plan": self.plan.stamp,
            "march": self.plan.march,
            "batch": self.batch,
            "threads": self.plan.threads,
            "pipeline": None if self.optimized is None else self.optimized.pipeline,
            "inputs": [_array(buffer) for buffer in self.plan.inputs],
            "outputs": [_array(buffer) for buffer in self.plan.outputs],
            "weights_bytes": self.plan.constants.nbytes,
            "context_bytes": self.plan.context_bytes,
            "checked": None if self.checked is None else asdict(self.checked),
            "algorithms": [row.to_json() for row in self.algorithms],
            "notes": list(self.notes),
        }


def _array(buffer: deploying.Buffer) -> dict[str, object]:
    return {"name": buffer.name, "shape": list(buffer.shape), "dtype": buffer.dtype.name}


_USUAL = DeployOptions()


def deploy(
    source: Source,
    folder: str | PathLike[str],
    rewriting: RewriteOptions = NO_REWRITE,
    options: DeployOptions = _USUAL,
    *,
    example_input: ExampleInput | None = None,
    input_shape: Sequence[int] | None = None,
    weights: str | PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Deployed:
    """Write what the engine ``native`` runs as a C library, and for ONNX Runtime.

    The passes run first, as in ``optimize``; what ``optimize`` returned is taken as it is.

    Args:
        source: see ``load``.
        folder: for the library: new, empty, or what ``deploy`` wrote there, unchanged since.
        rewriting: which passes run.
        options: what the library is made for.
        example_input: see ``load``.
        input_shape: see ``load``; needed where height or width are dynamic.
        weights: see ``load``.
        progress: told how the work goes on.

    Raises:
        InputError: the source, the folder or an option cannot be used.
        UnsupportedError: the kernels lack an operator, or there is no C compiler.
    """
    tell, path = progress or silent, Path(os.fspath(folder))
    name = deploying.name_in_c(model_name(source))
    if options.name is not None:
        name = deploying.check_name(options.name)
    if options.threads < 1:
        raise InputError(f"--threads {options.threads}: 1 or more are required")
    deploying.check_folder(path)
    tell("load", 0, 0)
    if isinstance(source, Rewritten):
        require_no_rewrite(rewriting, input_shape=input_shape, weights=weights)
        model, optimized = load(source), None
        batch = _batch(model, options)
    else:
        given = weights or tuned_weights(source, rewriting)
        loaded = load(source, example_input, input_shape=input_shape, weights=given)
        batch = _batch(loaded, options)
        measuring = MeasureOptions(
            engines=("native",), threads=options.threads, batches=(batch,), chosen=options.chosen
        )
        optimized = rewrite(
            loaded, default_passes(source), rewriting,
            chooser=chooser_for(loaded, measuring), progress=tell,
        )  # fmt: skip
        model = optimized.model
    tell("plan", 0, 0)
    plan = deploying.plan(
        model, march=options.march, algorithm=options.algorithm, batch=batch,
        threads=options.threads,
    )  # fmt: skip
    tell("write", 0, 0)
    checked: list[deploying.Checked] = []

    def check(written: Path) -> None:
        tell("check", 0, 0)
        checked.append(deploying.check(plan, written, name, march=options.march))

    deploying.write(
        plan, path, name, model_name(source), check if options.check else None,
        writer=f"mlcnn {mlcnn.__version__}",
    )  # fmt: skip
    return Deployed(path, name, plan, batch, checked[0] if checked else None, optimized)


def _batch(model: ir.Model, options: DeployOptions) -> int:
    batch = (fixed_batch(model) or 1) if options.batch is None else options.batch
    fixed_shapes(model, batch)
    require_memory_for_run(model, batch)
    return batch
