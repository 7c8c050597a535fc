"""What a pipeline did to a network, line by line, checked on the way."""

import numpy as np
import onnx_ir as ir
import onnxruntime

from mlcnn.graph import check, inline, to_proto
from mlcnn.passes import pipeline
from mlcnn.passes.verification import verify

__all__ = ["EVERY", "inputs_of", "largest_difference", "left_alone", "run", "story"]

EVERY = "max-to-average,reorder,distribute-pool,fuse{form=box}"


def inputs_of(model: ir.Model, seed: int = 1) -> dict[str, np.ndarray]:
    """Random inputs; a dynamic batch is 2, a dynamic height or width 13."""
    generator = np.random.default_rng(seed)
    result = {}
    for value in model.graph.inputs:
        sizes = [
            dim if isinstance(dim, int) else (2 if axis == 0 else 13)
            for axis, dim in enumerate(value.shape)
        ]
        result[value.name] = generator.standard_normal(sizes).astype(value.dtype.numpy())
    return result


def run(model: ir.Model, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs in ONNX Runtime, one thread, nothing optimised away."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    proto = to_proto(inline(model)).SerializeToString()
    session = onnxruntime.InferenceSession(proto, options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def largest_difference(before: ir.Model, after: ir.Model) -> float:
    """Largest difference of the networks' outputs, relative to the largest value of each."""
    inputs = inputs_of(before)
    worst = 0.0
    for expected, actual in zip(run(before, inputs), run(after, inputs), strict=True):
        assert actual.shape == expected.shape
        difference = np.abs(actual.astype(np.float64) - expected).max()
        worst = max(worst, float(difference / np.abs(expected).max()))
        assert np.isfinite(worst)
    return worst


def story(model: ir.Model, passes: str = EVERY, *, runs: bool = True) -> list[str]:
    """Run ``passes``; say what each pass did.

    The result must be valid ONNX, verified at every site, and the same in ONNX Runtime where all
    passes say that they are exact (``runs``: it knows all operators).
    """
    check(model)
    result = pipeline.run(model, pipeline.parse(passes))
    check(result.model)
    verification = verify(result)
    if any(change.exact for change in result.changes):
        assert not verification.vacuous
    if runs and all(change.exact for change in result.changes):
        assert largest_difference(model, result.model) <= 1e-5
    lines = []
    for name in dict.fromkeys(stage.applied.name for stage in result.stages):
        for change in result.changes:
            if change.pass_name == name:
                form = f" as {change.form}" if change.form else ""
                lines.append(f"{name} rewrites {', '.join(change.nodes)}{form}")
        left = [skipped for skipped in result.skipped if skipped.pass_name == name]
        lines += [f"{name} leaves {skipped.node}: {skipped.reason}" for skipped in left]
    return lines


def left_alone(node: str, reason: str) -> list[str]:
    """The story of a network whose only average pool no pass takes."""
    return [f"{name} leaves {node}: {reason}" for name in ("reorder", "distribute-pool", "fuse")]
