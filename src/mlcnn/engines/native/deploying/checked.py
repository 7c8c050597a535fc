"""Whether a deployed library computes, bit for bit, what the engine ``native`` does."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlcnn.engines.native.deploying.building import Loaded, build
from mlcnn.engines.native.deploying.plan import Buffer, Plan
from mlcnn.errors import UnsupportedError

__all__ = ["Checked", "check", "drawn", "handed"]

_ALLOWED = 1e-5  # of the largest output: what another order of rounding can make


@dataclass(frozen=True, slots=True)
class Checked:
    """A library that was compiled here and agreed.

    Attributes:
        compiler: that compiled it.
        binary_bytes: of the shared library, without symbols.
        code_bytes: of that without the weights.
        context_bytes: of one context.
        difference: to the engine ``native``, the largest, as a share of the largest output; 0 where
            all bits agree, as they do where compilers leave no choice which products are rounded.
    """

    compiler: str
    binary_bytes: int
    code_bytes: int
    context_bytes: int
    difference: float


def drawn(buffers: tuple[Buffer, ...], seed: int = 0) -> dict[str, np.ndarray]:
    """Random inputs: standard normal numbers, and flags of which half are set."""
    generator = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}
    for buffer in buffers:
        normal = generator.standard_normal(buffer.shape, np.float32)
        floats = np.issubdtype(buffer.dtype, np.floating)
        found[buffer.name] = (
            normal.astype(buffer.dtype) if floats else (normal > 0).astype(buffer.dtype)
        )
    return found


def handed(plan: Plan, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Inputs as a library takes them: floats, and flags as bytes."""
    return [
        np.ascontiguousarray(inputs[b.name], np.bool_ if b.flags else np.float32)
        for b in plan.inputs
    ]


def check(plan: Plan, folder: Path, name: str, *, march: str, seed: int = 0) -> Checked:
    """Compile a library, run it, and compare it with the engine ``native``.

    Args:
        plan: what it runs.
        folder: of its sources.
        name: of the network in C.
        march: the processor.
        seed: of the inputs.

    Raises:
        UnsupportedError: it does not compile, or computes something else.
    """
    inputs = drawn(plan.inputs, seed)
    expected = plan.session.run(inputs)
    with tempfile.TemporaryDirectory(prefix="mlcnn-deploy-") as place:
        built = build(folder, name, march, into=Path(place), threads=plan.threads)
        loaded = Loaded(built.path, name, plan.outputs, plan.threads)
        run, found = loaded.runner(handed(plan, inputs))
        code = run()
        loaded.close()
        worst = max(
            (
                _difference(expected[b.name], each)
                for b, each in zip(plan.outputs, found, strict=True)
            ),
            default=0.0,
        )
    if code or worst > _ALLOWED:
        raise UnsupportedError(
            f"deploy: the library, compiled by {built.compiler}, differs from the engine native "
            f"(code {code}, by {worst:.2g} of the largest output); nothing is written. Set CC to "
            "another compiler"
        )
    return Checked(
        built.compiler, built.binary_bytes, built.code_bytes, loaded.context_bytes, worst
    )


def _difference(expected: np.ndarray, found: np.ndarray) -> float:
    """0 where all bits agree, else the largest difference, as a share of the largest output."""
    floats = np.ascontiguousarray(expected, np.float32)
    if np.array_equal(floats.view(np.int32), found.view(np.int32)):
        return 0.0
    largest = float(np.abs(floats - found).max() / np.abs(floats).max())
    return largest if largest > 0 else float("inf")
