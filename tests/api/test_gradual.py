"""Fine-tuning in steps: each from the weights of the one before, and resumed in any of them."""

import numpy as np
import onnx_ir as ir
import pytest
import torch
from passes.builder import Net
from torch import nn

import mlcnn
from mlcnn import training
from mlcnn.api import TrainOptions
from mlcnn.api.affording import training_steps
from mlcnn.errors import InputError
from mlcnn.graph import constant
from mlcnn.ops.block_circulant import Blocks, dense_weight, projected
from mlcnn.passes import pipeline

GRADUAL = "block-circulant{block=4,gradual=true}"


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3),
        nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10),
    )  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    sample = training.load_sample()
    path = tmp_path_factory.mktemp("data") / "sample.npz"
    np.savez(path, images=sample.images, labels=sample.labels)
    return training.open_data(path)


def _finetune(data, folder, notice=None, epochs=3, passes=GRADUAL):
    recipe = training.Recipe(epochs=epochs, batch_size=64, learning_rate=0.01)
    return mlcnn.finetune(
        _network(), data, passes=passes, options=TrainOptions(recipe), folder=folder, notice=notice
    )


def _compact(model: ir.Model) -> tuple[int, np.ndarray]:
    """Size of the blocks of the only layer that has some, and its weight."""
    (node,) = [node for node in model.graph if node.op_type == "BlockCirculantConv"]
    weight = constant(node.inputs[1])
    assert weight is not None
    return node.attributes["block"].as_int(), weight


def test_each_step_starts_from_the_weights_of_the_one_before(data, tmp_path):
    told: list[str] = []
    done = _finetune(data, tmp_path, told.append)
    assert [row.variant for row in done.accuracies] == [
        "original",
        *(f"step {step} of 2, {what}" for step in (1, 2)
          for what in ("rewritten", "statistics re-estimated", "fine-tuned")),
    ]  # fmt: skip
    assert "step 1 of 2: block-circulant{block=4,step=2}" in told
    assert "step 2 of 2: block-circulant{block=4,gradual=True}" in told
    # One epoch for the first step, two for the last.
    assert [epoch.number for epoch in done.history] == [1, 2, 3]
    rates = [epoch.learning_rate for epoch in done.history]
    assert rates[0] == pytest.approx(0)
    assert rates[1] == pytest.approx(0.005)
    assert _compact(done.optimized.model)[0] == 4
    first = np.load(tmp_path / "checkpoint-1.npz")
    (name,) = [name for name in first.files if name.startswith("best/") and first[name].ndim == 5]
    halves = dense_weight(first[name].astype(np.float64), Blocks(2, 8, 8))
    # The last step's rewrite is the projection of what the first was trained to.
    (node,) = [n for n in done.optimized.original.graph if n.op_type == "BlockCirculantConv"]
    np.testing.assert_array_equal(constant(node.inputs[1]), first[name])
    trained = _compact(done.optimized.model)[1]
    started = projected(halves, Blocks(4, 8, 8))
    assert 0 < np.abs(trained - started).max() < np.abs(started).max()


@pytest.mark.parametrize("epoch", [1, 2])
def test_it_goes_on_in_the_step_where_it_was_stopped(data, tmp_path, epoch):
    whole = _finetune(data, tmp_path / "whole")

    def stop(message: str) -> None:
        if message.startswith(f"epoch {epoch} of 3"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _finetune(data, tmp_path / "parts", stop)
    told: list[str] = []
    again = _finetune(data, tmp_path / "parts", told.append)
    assert [line[:7] for line in told if line.startswith("epoch")] == [
        f"epoch {number}" for number in range(epoch + 1, 4)
    ]
    np.testing.assert_array_equal(
        _compact(again.optimized.model)[1], _compact(whole.optimized.model)[1]
    )
    assert [row.top1 for row in again.accuracies] == [row.top1 for row in whole.accuracies]
    assert [(e.number, e.loss) for e in again.history] == [
        (e.number, e.loss) for e in whole.history
    ]


def test_fewer_epochs_than_steps_are_refused(data):
    with pytest.raises(InputError, match=r"--epochs 1: .* is trained in 2 steps"):
        _finetune(data, None, epochs=1)


def test_other_passes_stand_in_the_first_step():
    assert training_steps("max-to-average,reorder") == ("max-to-average,reorder",)
    assert training_steps("reorder,block-circulant{block=6,gradual=true}") == (
        "reorder,block-circulant{block=6,step=2}",
        "block-circulant{block=6,gradual=True}",
    )


@pytest.mark.parametrize(
    ("block", "steps"),
    [("1", []), ("2", []), ("3", []), ("6", [2]), ("8", [2, 4]), ("9", []), ("12", [2, 4]),
     ("24", [2, 4, 8]), ("8+fc=3", [2, 4]), ("3+fc=8", [2, 4]), ("2+fc=4", [2])],
)  # fmt: skip
def test_steps_double_blocks_as_long_as_that_divides_them(block, steps):
    texts = training_steps(f"block-circulant{{block={block},gradual=true}}")
    found = [pipeline.parse(text) for text in texts]
    assert [item.step for (item,) in found] == [*steps, None]
    assert {item.block for (item,) in found} == {block}


@pytest.mark.parametrize(
    ("block", "sizes"),
    [
        ("8", [[2, 2, 2], [4, 4, 4], [8, 8, 8]]),
        ("12", [[2, 2, 2], [4, 4, 4], [12, 12, 12]]),
        ("8+b=2", [[2, 2, 2], [4, 2, 4], [8, 2, 8]]),
        ("3+b=4", [[2], [3, 4, 3]]),
    ],
)
def test_projections_step_by_step_are_the_projection_at_once(block, sizes):
    """Circulant in blocks of 8 is circulant in those of 4 and 2, as channels lie apart."""
    net = Net(2, 24, 4, 4)
    value = net.x
    for name in "abc":
        value = net.op("Relu", net.conv(value, 24, channels=24, name=name))
    model = net.model(value)
    (whole,) = pipeline.parse(f"block-circulant{{block={block},gradual=true,ends=true}}")
    current, found = model, []
    for step in whole.training_steps():
        current = step.apply(current).model
        nodes = [node for node in current.graph if "block" in node.attributes]
        found.append([node.attributes["block"].as_int() for node in nodes])
    assert found == sizes
    at_once = whole.apply(model).model
    for node, other in zip(current.graph, at_once.graph, strict=True):
        assert node.op_type == other.op_type
        if "block" in node.attributes:
            weights = [constant(n.inputs[1]) for n in (node, other)]
            np.testing.assert_allclose(*weights, rtol=0, atol=1e-6)
