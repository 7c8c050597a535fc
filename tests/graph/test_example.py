"""Example inputs of every form: the network computes what the module does."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from mlcnn import graph
from mlcnn.errors import InputError
from mlcnn.graph.example import Example

X, Y = torch.randn(1, 3, 4, 4), torch.randn(1, 3, 4, 4)


class Weighted(nn.Module):
    """Takes its arguments in every way."""

    def forward(self, image, mask=None, *, scale=None, other=None):
        result = torch.relu(image)
        if mask is not None:
            result = result * mask
        if scale is not None:
            result = result + 2 * scale
        return result if other is None else result - 3 * other


class Nested(nn.Module):
    """Takes a pair, in a tuple or list, and a dict."""

    def forward(self, pair, named):
        return pair[0] - 2 * pair[1] + 3 * named["third"]


@pytest.mark.parametrize(
    ("module", "example", "arguments", "keywords"),
    [
        (Weighted(), X, (X,), {}),
        (Weighted(), [X, Y], (X, Y), {}),
        (Weighted(), (X, None), (X, None), {}),
        (Weighted(), {"image": X, "scale": Y}, (X,), {"scale": Y}),
        (Weighted(), {"image": X, "mask": None, "other": Y}, (X,), {"other": Y}),
        (Nested(), ((X, Y), {"third": X}), ((X, Y), {"third": X}), {}),
        (Nested(), ([X, Y], {"third": X}), ([X, Y], {"third": X}), {}),
    ],
)
def test_the_network_computes_what_the_module_does(module, example, arguments, keywords):
    model = graph.from_module(module, example)
    expected = module(*arguments, **keywords).numpy()
    tensors = [*torch.utils._pytree.tree_leaves((arguments, keywords))]
    session = onnxruntime.InferenceSession(
        graph.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in session.get_inputs()]
    arrays = [item.numpy() for item in tensors if item is not None]
    (found,) = session.run(None, dict(zip(names, arrays, strict=True)))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert all(str(value.shape) == "[batch,3,4,4]" for value in model.graph.inputs)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("an image", "str"),
        ((X, 3), "int"),
        ({"image": X, "scale": "no"}, "str"),
        ((), "tuple without one"),
        ({}, "dict without one"),
        ([None], "list without one"),
        (np.zeros(3), "ndarray"),
    ],
)
def test_what_is_no_example_is_one_message(given, found):
    with pytest.raises(InputError) as failure:
        Example.of(given, "net")
    assert str(failure.value).startswith(
        f"net: the example input must consist of tensors, got a {found}; give a tensor"
    )
