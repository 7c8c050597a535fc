"""Convolutions of chosen channels in engine native: the products that count, and zeros."""

import numpy as np
import onnx_ir as ir
import pytest
import torch
from engines.processors import MARCHES
from engines.test_native_branches import with_weights
from engines.test_native_int8 import drawn_windows
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcnn.engines.arrays import fix_shapes
from mlcnn.engines.native import Native
from mlcnn.engines.native.algorithms import Choosing
from mlcnn.engines.native.library import Op, load
from mlcnn.engines.native.lowering import lower
from mlcnn.engines.native.machine import Machine
from mlcnn.errors import UnsupportedError
from mlcnn.graph import fold_constants, infer_shapes, inline
from mlcnn.ops.geometry import Convolution, read_convolution
from mlcnn.ops.selected import select
from mlcnn.passes.rewriting import emitter_for, install


def layer(  # noqa: PLR0917 - sizes, and what stands behind
    channels: int, filters: int, kernel: tuple[int, ...], size: tuple[int, ...], batch: int,
    behind: str = "", **attributes: tuple[int, ...],
) -> ir.Model:  # fmt: skip
    """A convolution whose channels are chosen by masks that are inputs."""
    told = ", ".join(f"{name} = [{', '.join(map(str, v))}]" for name, v in attributes.items())
    shape = f"float[{batch}, {channels}, {size[0]}, {size[1]}]"
    model = with_weights(
        f"""<ir_version: 10, opset_import: ["" : 20]>
        net ({shape} x) => (float[N, {filters}, H, W] y) {{
            c = Conv <{told}> (x, w, b)
            y = {behind or "Identity"} (c)
        }}""",
        w=(filters, channels, *kernel), b=(filters,),
    )  # fmt: skip
    infer_shapes(model)
    node = next(node for node in model.graph if node.op_type == "Conv")
    found = read_convolution(node)
    assert isinstance(found, Convolution)
    masks = [
        ir.Value(name=name, shape=ir.Shape([batch, count]), type=ir.TensorType(ir.DataType.BOOL))
        for name, count in (("outs", filters), ("ins", channels))
    ]
    model.graph.inputs.extend(masks)
    emitter = emitter_for(model, found)
    install(model, emitter, node.outputs[0], select(emitter, found, *masks), anchor=node)
    infer_shapes(model)
    return model


def by_definition(  # noqa: PLR0917 - a layer and what goes in
    model: ir.Model, x: np.ndarray, ins: np.ndarray, outs: np.ndarray, windows: tuple, relu: bool
) -> np.ndarray:
    """Zeros in place of the inputs that are left out, every product, zeros of results."""
    _, strides, dilations, pads, _ = windows
    weight, bias = (model.graph.initializers[n].const_value.numpy() for n in "wb")
    top, left, bottom, right = pads
    padded = np.pad(x * ins[:, :, None, None], ((0, 0), (0, 0), (top, bottom), (left, right)))
    sums = torch.nn.functional.conv2d(
        *(torch.tensor(array, dtype=torch.float64) for array in (padded, weight, bias)),
        strides, 0, dilations,
    ).numpy()  # fmt: skip
    found = sums * outs[:, :, None, None]
    return np.maximum(found, 0) if relu else found


@pytest.mark.parametrize("march", MARCHES)
@given(data=st.data())
@settings(max_examples=25)
def test_layers_of_any_geometry(march: str, data: st.DataObject) -> None:
    """Any windows, any batch, each image with masks of its own, full and empty ones among them."""
    windows = drawn_windows(data.draw, 2, 9)
    kernel, strides, dilations, pads, size = windows
    channels, filters = data.draw(st.integers(2, 40)), data.draw(st.integers(2, 70))
    batch, share = data.draw(st.integers(1, 3)), data.draw(st.sampled_from([0, 0.3, 0.8, 1]))
    relu = data.draw(st.booleans())
    model = layer(
        channels, filters, kernel, size, batch, "Relu" if relu else "", pads=pads,
        strides=strides, dilations=dilations, kernel_shape=kernel,
    )  # fmt: skip
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    x = rng.normal(size=(batch, channels, *size)).astype(np.float32)
    ins, outs = (rng.uniform(size=(batch, count)) < share for count in (channels, filters))
    session = Native(march, "direct").prepare(model)
    (found,) = session.run({"x": x, "ins": ins, "outs": outs}).values()
    expected = by_definition(model, x, ins, outs, windows, relu)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))


def test_channels_that_are_left_out_are_not_read() -> None:
    """Not even a NaN among them counts; the layer is one operation."""
    model = layer(32, 16, (3, 3), (5, 5), 1, pads=(1, 1, 1, 1))
    x = np.ones((1, 32, 5, 5), np.float32)
    ins, outs = np.arange(32)[None] % 2 == 0, np.arange(16)[None] < 9
    x[0, 1::2] = np.nan
    (found,) = Native("native", "direct").prepare(model).run(
        {"x": x, "ins": ins, "outs": outs}
    ).values()  # fmt: skip
    assert np.isfinite(found).all()
    assert not found[0, 9:].any()
    shapes = {"x": x.shape, "ins": ins.shape, "outs": outs.shape}
    fixed = fold_constants(fix_shapes(inline(model), shapes), spread=True)
    infer_shapes(fixed)
    choose = Choosing("direct", Machine(1e9, 1e9), 1, 1).chooser(load())
    ops = [operation.op for operation in lower(fixed, load(), choose)]
    assert ops.count(Op.SELECT) == 1
    assert not {Op.CONV, Op.BINARY, Op.KEEP} & {*ops}


def test_groups_are_refused() -> None:
    model = with_weights(
        """<ir_version: 10, opset_import: ["" : 20]>
        net (float[1, 4, 5, 5] x, bool[1, 4, 1, 1] ins) => (float[1, 4, 5, 5] y) {
            zero = Constant <value_float = 0.0> ()
            some = Where (ins, x, zero)
            y = Conv <group = 2, pads = [1, 1, 1, 1]> (some, w)
        }""",
        w=(4, 2, 3, 3),
    )
    given = {"x": np.ones((1, 4, 5, 5), np.float32), "ins": np.ones((1, 4, 1, 1), bool)}
    with pytest.raises(UnsupportedError, match=r"'onnxruntime'"):
        Native().prepare(model).run(given)
