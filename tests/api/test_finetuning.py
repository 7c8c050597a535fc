"""Fine-tuning from Python: a module in, a network out; weights back from a loop of one's own."""

import numpy as np
import pytest
import torch
from torch import nn

import mlcnn
from mlcnn import training
from mlcnn.api.affording import approximate_passes
from mlcnn.api.sensitivity import Judge, swapped
from mlcnn.errors import InputError
from mlcnn.training.intervals import paired

PASSES = "max-to-average,reorder"


class Small(nn.Module):
    """A convolution, a norm and a max pool, so that both passes and the statistics count."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.1)
        self.line = nn.Linear(8 * 64, 10)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.norm(self.conv(x))), 4)
        return self.line(self.drop(x.flatten(1)))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    sample = training.load_sample()
    path = tmp_path_factory.mktemp("data") / "sample.npz"
    np.savez(path, images=sample.images, labels=sample.labels)
    return training.open_data(path)


@pytest.fixture(scope="module")
def trained(data):
    torch.manual_seed(0)
    module = Small()
    recipe = training.Recipe(epochs=10, batch_size=32, crop=0, flip=False)
    training.train(module, data.training, recipe, normal=training.Normal())
    return module


def test_a_module_is_finetuned(trained, data):
    told: list[str] = []
    before = {k: v.clone() for k, v in trained.state_dict().items()}
    result = mlcnn.finetune(trained, data, epochs=2, notice=told.append)
    variants = [row.variant for row in result.accuracies]
    assert variants == ["original", "rewritten", "statistics re-estimated", "fine-tuned"]
    right = training.right_images(trained, data.test, training.Normal())
    assert result.accuracies[0].top1 == right.mean()
    assert result.differences[0].top1 == 0
    for row, change in zip(result.accuracies, result.differences, strict=True):
        assert change.top1 == pytest.approx(row.top1 - right.mean())
        assert change.interval[0] <= change.top1 <= change.interval[1]
    assert [epoch.number for epoch in result.history] == [1, 2]
    # What was trained is not folded; what is delivered is, and has no dropout.
    operators = [node.op_type for node in result.optimized.model.graph]
    assert operators.count("BatchNormalization") == operators.count("Dropout") == 1
    delivered = [node.op_type for node in result.result.model.graph]
    assert "BatchNormalization" not in delivered
    assert "Dropout" not in delivered
    inputs = {"x": training.Normal().apply(data.test.images)}
    logits = next(iter(result.result.run(inputs).values()))
    agreed = (logits.argmax(1) == data.test.labels).mean()
    assert agreed == pytest.approx(result.accuracies[-1].top1)
    assert all(torch.equal(v, before[k]) for k, v in trained.state_dict().items())
    assert any("epoch 2 of 2" in line for line in told)


def test_weights_come_back_from_a_loop_of_ones_own(trained):
    optimized = mlcnn.optimize(trained, (torch.zeros(2, 3, 32, 32),), passes="mlcnn")
    module = optimized.module()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.01)
    updated = optimized.update_weights(module)
    x = torch.randn(2, 3, 32, 32)
    found = next(iter(updated.run({"x": x.numpy()}).values()))
    np.testing.assert_allclose(found, module(x).detach().numpy(), atol=1e-4)
    assert updated.pipeline == optimized.pipeline
    assert updated.verification is None
    assert not torch.equal(module(x), optimized.module()(x))
    with pytest.raises(InputError, match="it is not made from this network"):
        optimized.update_weights(nn.Linear(2, 2))


def test_a_paired_difference_is_that_of_its_counts():
    before = np.array([True] * 60 + [False] * 40)
    after = before.copy()
    after[:10], after[-5:] = False, True
    found = paired(before, after)
    assert found.top1 == pytest.approx(-0.05)
    # Of 100 images 15 differ: variance (15 - 25/100) / 100^2.
    half = 1.959964 * (15 - 0.25) ** 0.5 / 100
    assert found.interval == pytest.approx((-0.05 - half, -0.05 + half), rel=1e-5)


def test_norms_are_never_folded_before_training():
    assert approximate_passes("mlcnn") == "fold-constants,max-to-average,reorder"
    assert approximate_passes("reorder,fuse") == "reorder"


@pytest.mark.parametrize("layers", [["pool2"], ["pool1"], ["pool1", "pool2"]])
def test_a_fit_is_kept_only_where_validation_images_are_the_better_for_it(data, layers):
    """The sample's networks; the fit of the second pool's convolution helps."""
    model = mlcnn.load("lenet5")
    normal = training.normal_for(data.training, mlcnn.api.loading.zoo_entry("lenet5"))[0]
    judge = Judge(model, PASSES, data, normal, training.Hardware(), lambda *_: None)
    optimized = swapped(model, PASSES, layers)
    raw, renewed = optimized.module(), judge.renewed(optimized)
    changed = {
        k for k, v in renewed.state_dict().items() if not torch.equal(v, raw.state_dict()[k])
    }
    before, after = judge.right(raw).sum(), judge.right(renewed).sum()
    assert after > before if changed else after == before
    assert changed <= {f"conv{layer[-1]}.{kind}" for layer in layers for kind in ("weight", "bias")}
    assert changed or layers != ["pool2"]
