"""What a network takes, and arrays made for it."""

import numpy as np
import onnx_ir as ir
import pytest

from mlcnn import engines
from mlcnn.errors import InputError
from mlcnn.graph import check


def test_signatures_leave_initializers_out() -> None:
    net = ir.from_onnx_text(
        """<ir_version: 10, opset_import: ["" : 20]>
        net (float[N, 2] x, float[2] w) => (float[N, 2] y)
        <float[2] w = {1, 2}> { y = Mul(x, w) }"""
    )
    assert [str(signature) for signature in engines.signatures(net)] == ["x: float32(N, 2)"]


def test_inputs_repeat_with_their_seed(any_size) -> None:
    def image(seed: int) -> np.ndarray:
        shapes = {"image": (2, 3, 4, 5)}
        return engines.random_inputs(any_size, 2, shapes=shapes, seed=seed)["image"]

    assert image(0).shape == (2, 3, 4, 5)
    assert image(0).dtype == np.float32
    np.testing.assert_array_equal(image(0), image(0))
    assert not np.array_equal(image(0), image(1))
    assert abs(image(0).mean()) < 0.3
    assert 0.7 < image(0).std() < 1.3


def test_the_batch_fills_the_first_size(convolution) -> None:
    assert engines.fixed_shapes(convolution, 6) == {"image": (6, 3, 8, 8)}


@pytest.mark.parametrize(
    ("kind", "expected"), [("int64", np.int64), ("bool", np.bool_), ("float16", np.float16)]
)
def test_inputs_have_the_network_s_type(kind: str, expected: type) -> None:
    net = ir.from_onnx_text(
        f"""<ir_version: 10, opset_import: ["" : 20]>
        net ({kind}[N, 2] x) => ({kind}[N, 2] y) {{ y = Identity(x) }}"""
    )
    array = engines.random_inputs(net, 3)["x"]
    assert array.dtype == expected
    assert array.shape == (3, 2)


def test_an_unknown_size_is_told(any_size) -> None:
    with pytest.raises(InputError) as failure:
        engines.fixed_shapes(any_size, 1)
    assert str(failure.value) == (
        "the size of the network's input image: float32(N, 3, H, W) is not known: "
        "give --input-shape"
    )


def test_a_fixed_batch_is_told(fixed_batch) -> None:
    assert engines.fixed_shapes(fixed_batch, 1) == {"image": (1, 3)}
    with pytest.raises(InputError, match=r"batch 8: the network's input .* has a fixed batch"):
        engines.fixed_shapes(fixed_batch, 8)


def test_a_batch_must_be_positive(convolution) -> None:
    with pytest.raises(InputError, match="batch must be 1 or more, got 0"):
        engines.fixed_shapes(convolution, 0)


def test_sizes_are_fixed_in_a_copy(any_size) -> None:
    fixed = engines.fix_shapes(any_size, {"image": (2, 3, 4, 5)})
    check(fixed)
    assert [list(value.shape) for value in (fixed.graph.inputs[0], fixed.graph.outputs[0])] == [
        [2, 3, 4, 5],
        [2, 3, 4, 5],
    ]
    assert [str(size) for size in any_size.graph.inputs[0].shape] == ["N", "3", "H", "W"]


def test_a_batch_of_zero_is_told() -> None:
    net = ir.from_onnx_text(
        """<ir_version: 10, opset_import: ["" : 20]>
        net (float[0, 2] x) => (float[0, 2] y) { y = Identity(x) }"""
    )
    with pytest.raises(InputError) as failure:
        engines.fixed_shapes(net, 1)
    assert str(failure.value) == (
        "the network's input x: float32(0, 2) has a size of 0, so there is nothing to run; export "
        "it for one image or more, or with a dynamic batch"
    )
