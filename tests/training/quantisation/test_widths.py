"""Networks with bits of its own for every layer: their codes, and how they read back."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import mlcnn
from mlcnn import engines
from mlcnn.errors import InputError
from mlcnn.graph import from_proto, to_proto
from mlcnn.training.quantisation.calibration import outputs_of
from mlcnn.training.quantisation.widths import narrowing
from mlcnn.workload import read


class Block(nn.Module):
    """A convolution, a residual block whose sum reads what its first layer does, and scores."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.first = nn.Conv2d(8, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.line = nn.Linear(8, 4)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.second(torch.relu(self.first(x))))
        return self.line(x.mean((2, 3)))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(48, 3, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def made(images):
    torch.manual_seed(0)
    network = mlcnn.load(Block().eval(), torch.zeros(2, 3, 8, 8))
    return narrowing(network, images, progress=lambda *_: None)


def _widths(made, counts):
    whole = made.whole
    weights = dict(zip(whole.weights, counts, strict=True))
    inputs = dict(zip(whole.inputs, reversed(counts), strict=True))
    return replace(whole, weights=weights, inputs=inputs)


@pytest.mark.parametrize("counts", [(8, 8, 8, 8), (2, 3, 4, 5), (7, 6, 5, 8)])
def test_layers_read_back_with_their_bits(made, counts, tmp_path):
    widths = _widths(made, counts)
    model = made.with_widths(widths)
    for each in (model, from_proto(to_proto(model))):
        found = {layer.name: layer.numbers for layer in read(each, batch=1).layers}
        assert {n: number.weight for n, number in found.items()} == dict(widths.weights)
        inputs = {
            reader: bits for value, bits in widths.inputs.items() for reader in made.readers(value)
        }
        assert {n: number.input for n, number in found.items()} == inputs


def test_values_in_memory_have_no_more_levels_than_their_bits(made, images):
    """What the sum of a block reads is codes too: of the stem's output, of 3 bits, 8 levels."""
    value = next(v for v in made.whole.inputs if made.readers(v) == ("first",))
    widths = replace(made.whole, inputs={**made.whole.inputs, value: 3})
    model = made.with_widths(widths)
    (add,) = (n for n in model.graph if n.op_type == "Add" and not any(
        v.is_initializer() for v in n.inputs))  # fmt: skip
    rounded = next(v for v in add.inputs if v.producer().op_type == "DequantizeLinear")
    model.graph.outputs.append(rounded)
    session = engines.get("onnxruntime").prepare(model)
    found = session.run({model.graph.inputs[0].name: images})
    assert len(np.unique(found[rounded.name])) <= 8


def test_more_bits_are_nearer_to_the_floats(made, images):
    expected = outputs_of(made.model, images)
    models = [made.with_widths(_widths(made, (bits,) * 4)) for bits in (8, 5, 3, 2)]
    errors = [float(((outputs_of(each, images) - expected) ** 2).sum()) for each in models]
    assert errors == sorted(errors)
    assert errors[0] < 1e-2 * errors[-1]


def test_too_few_images(made, images):
    with pytest.raises(InputError, match="4 images for calibration"):
        narrowing(made.model, images[:4], progress=lambda *_: None)
