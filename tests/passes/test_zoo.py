"""The papers' networks: which sites are fused, what that removes, and that it is exact."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx_ir as ir
import pytest
from passes.story import inputs_of, largest_difference, run

from mlcnn import zoo
from mlcnn.graph import extract, layer_name
from mlcnn.ops.average_pool import AVERAGE_POOL
from mlcnn.passes import Fuse, pipeline
from mlcnn.passes.pipeline import PipelineResult
from mlcnn.passes.verification import TOLERANCE, verify
from mlcnn.workload import ConvLayer, read

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
TRANSITIONS = Expected(_each(QUARTER, *(f"trans{i}.conv" for i in (1, 2, 3))), approximate=False)
RESNET18 = Expected(_each(SIXTEENTH, "layer4.1.conv2"))


def _alexnet(*removed: float) -> Expected:
    return Expected(dict(zip(("features.0", "features.3", "features.10"), removed, strict=True)))


NETWORKS: dict[str, Expected] = {
    "lenet5": Expected(_each(QUARTER, "conv1", "conv2")),
    "lenet5-avg": Expected(_each(QUARTER, "conv1", "conv2")),
    "vgg16": VGG16,
    "vgg16-avg": VGG16,
    "vgg16-100": VGG16,
    "vgg16-all-conv": Expected({}),
    "vgg19": Expected(_each(QUARTER, *(f"features.{i}" for i in (3, 10, 23, 36, 49)))),
    "googlenet": GOOGLENET,
    "googlenet-avg": GOOGLENET,
    "densenet_cifar": TRANSITIONS,
    "densenet121": TRANSITIONS,
    "resnet18": RESNET18,
    "resnet20": Expected(_each(SIXTY_FOURTH, "layer3.2.conv2")),
    "resnet56": Expected(_each(SIXTY_FOURTH, "layer3.8.conv2")),
    "wrn22_8": Expected(_each(SIXTY_FOURTH, "layer3.2.conv2")),
    "alexnet": _alexnet(QUARTER, QUARTER, QUARTER),
    # A pool of 3x3/2 becomes one of 2x2/2: sides go from 55 to 27, 27 to 13 and 13 to 6.
    "alexnet-224": _alexnet(1 - (27 / 55) ** 2, 1 - (13 / 27) ** 2, 1 - (6 / 13) ** 2),
    "vgg16-224": Expected(_each(QUARTER, *(f"features.{i}" for i in (2, 7, 14, 21, 28)))),
    "resnet18-224": Expected({"conv1": QUARTER, "layer4.1.conv2": 1 - 1 / 49}),
    "resnet50-224": Expected({"conv1": QUARTER, "layer4.2.conv3": 1 - 1 / 49}),
}


def _networks(*default: str) -> list:
    """All networks; those not named here only in the long run: an export takes 5 to 30 s."""
    return [
        pytest.param(name, marks=() if name in default else pytest.mark.long) for name in NETWORKS
    ]


EVERY = _networks("lenet5", "vgg16", "googlenet", "resnet18")


@cache
def network(name: str) -> ir.Model:
    """Exported once for all tests."""
    return zoo.load(name)


@cache
def reordered(name: str) -> PipelineResult:
    """The network as it is fine-tuned: everything but the fusing is done."""
    *passes, _, _ = pipeline.parse("mlcnn")
    return pipeline.run(network(name), passes)


@cache
def fused(name: str, form: str = "box") -> PipelineResult:
    return pipeline.run(reordered(name).model, [Fuse(form=form)])


def _convolutions(model: ir.Model) -> set[str]:
    return {layer_name(node) for node in model.graph if node.op_type == "Conv"}


def _removed(layer: ConvLayer) -> float:
    """Share of the convolution's products that go: one per weight and pooled output stay."""
    height, width = layer.pooled
    return 1 - height * width / (layer.P * layer.Q)


@pytest.mark.parametrize("name", EVERY)
def test_fused_sites(name: str) -> None:
    layers = [item.nest for item in read(fused(name).model).layers if item.pool is not None]
    removed = {layer.name: _removed(layer) for layer in layers}
    assert removed == pytest.approx(NETWORKS[name].removed, rel=1e-12)
    assert len(layers) == len(NETWORKS[name].removed)
    assert {change.form for change in fused(name).changes} <= {"box"}


@pytest.mark.parametrize("name", EVERY)
def test_no_other_site_is_touched_by_an_approximate_pass(name: str) -> None:
    convolutions = _convolutions(network(name))
    expected = NETWORKS[name]
    touched: set[str] = set()
    for change in reordered(name).changes:
        if not change.exact:
            reached = convolutions & set(change.nodes)
            assert reached, "an approximate change that gains nothing"
            touched |= reached
    assert touched == (set(expected.removed) if expected.approximate else set())


@pytest.mark.parametrize("name", EVERY)
def test_sites_are_exact_in_float64(name: str) -> None:
    for result in (reordered(name), fused(name)):
        if any(change.exact for change in result.changes):
            verification = verify(result)
            assert verification.max_error <= TOLERANCE
            assert verification.max_deployed_error <= 1e-5
            assert not verification.vacuous


@pytest.mark.parametrize("form", [f.name for f in AVERAGE_POOL.forms if f.name != "box"])
@pytest.mark.parametrize("name", _networks("lenet5", "resnet18"))
def test_every_form_is_exact(name: str, form: str) -> None:
    """Where a form does not apply, its reason is told."""
    result = fused(name, form)
    refused = [
        skipped.reason for skipped in result.skipped if skipped.node in NETWORKS[name].removed
    ]
    assert len(result.changes) + len(refused) == len(NETWORKS[name].removed)
    assert all(reason.startswith(f"form {form} does not apply: ") for reason in refused)
    if result.changes:
        verification = verify(result)
        assert verification.max_error <= TOLERANCE
        assert not verification.vacuous
        _assert_sites_agree(result)


def _assert_sites_agree(result: PipelineResult) -> None:
    """Each rewritten site on its own, before and after, in ONNX Runtime."""
    for stage in result.stages:
        for change in stage.result.changes:
            if not (change.exact and change.inputs):
                continue
            before = extract(stage.before, change.inputs, change.outputs)
            after = extract(stage.result.model, change.inputs, change.outputs)
            inputs = inputs_of(before)
            for expected, actual in zip(run(before, inputs), run(after, inputs), strict=True):
                largest = np.abs(expected).max()
                assert largest > 0
                assert np.abs(actual - expected).max() <= 1e-5 * largest, change


@pytest.mark.parametrize("name", EVERY)
def test_sites_agree_in_onnx_runtime(name: str) -> None:
    _assert_sites_agree(reordered(name))
    _assert_sites_agree(fused(name))


@pytest.mark.parametrize("name", EVERY)
def test_exact_passes_keep_the_network(name: str) -> None:
    """End to end too, on the whole network, in ONNX Runtime."""
    passes = pipeline.parse("exact")
    after = pipeline.run(network(name), pipeline.configure(passes, form="box")).model
    assert largest_difference(network(name), after) <= 1e-4
    assert largest_difference(reordered(name).model, fused(name).model) <= 1e-4


@pytest.mark.parametrize("name", EVERY)
def test_batch_stays_dynamic(name: str) -> None:
    model = fused(name).model
    for value in (*model.graph.inputs, *model.graph.outputs):
        assert isinstance(value.shape[0], ir.SymbolicDim)
