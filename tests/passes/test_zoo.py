"""The papers' networks: which sites are fused, what that removes, and that it is exact."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx_ir as ir
import pytest
from passes.story import inputs_of, run

from mlcnn import zoo
from mlcnn.graph import extract, layer_name
from mlcnn.passes import Change, pipeline
from mlcnn.passes.pipeline import PipelineResult
from mlcnn.passes.verification import TOLERANCE, verify
from mlcnn.workload import ConvLayer

QUARTER, SIXTEENTH, SIXTY_FOURTH = 0.75, 0.9375, 0.984375


@dataclass(frozen=True)
class Expected:
    """Layers that are fused and the share of their multiplications that goes ([derived] in SPEC).

    ``approximate``: whether an activation or a max pool stands between each and its pool.
    """

    removed: dict[str, float]
    approximate: bool = True


def _each(removed: float, *names: str) -> dict[str, float]:
    return dict.fromkeys(names, removed)


VGG16 = Expected(_each(QUARTER, *(f"features.{i}" for i in (3, 10, 20, 30, 40))))
GOOGLENET = Expected({
    f"{module}.{branch}": removed
    for module, removed in {"b3": QUARTER, "e4": QUARTER, "b5": SIXTY_FOURTH}.items()
    for branch in ("b1.0", "b2.3", "b3.6", "b4.1")
})  # fmt: skip
TRANSITIONS = Expected(
    _each(QUARTER, *(f"trans{i}.conv" for i in (1, 2, 3))), approximate=False
)
RESNET18 = Expected(_each(SIXTEENTH, "layer4.1.conv2"))
LONG = pytest.mark.long

NETWORKS: dict[str, Expected] = {
    "lenet5": Expected(_each(QUARTER, "conv1", "conv2")),
    "vgg16": VGG16,
    "googlenet": GOOGLENET,
    "resnet18": RESNET18,
}


@cache
def network(name: str) -> ir.Model:
    """Exported once for all tests: that takes longer than the tests."""
    return zoo.load(name)


@cache
def rewritten(name: str, form: str) -> PipelineResult:
    return pipeline.run(network(name), pipeline.configure(pipeline.parse("mlcnn"), form=form))


def _fused(result: PipelineResult) -> tuple[Change, ...]:
    return tuple(change for change in result.changes if change.form is not None)


if __name__ == "__main__":
    import sys, time
    for n in sys.argv[1:]:
        t = time.time()
        m = network(n); t1 = time.time()
        r = rewritten(n, "box"); t2 = time.time()
        print(n, f"load {t1-t:.1f} run {t2-t1:.1f}")
        convs = {layer_name(x) for x in m.graph if x.op_type == "Conv"}
        for c in _fused(r):
            l = c.layer
            print("   ", c.nodes[0], 1 - np.prod(l.pooled) / (l.P * l.Q))
        print("    touched", sorted({x for c in r.changes if not c.exact for x in c.nodes} & convs))
        for s in r.skipped: print("     skip", s)
        v = verify(r)
        print(f"    verify {time.time()-t2:.1f}", v.max_error, v.max_deployed_error, v.vacuous)
