"""What each form computes, against the operators that the pass emits."""

import math
from dataclasses import replace

import numpy as np
import onnx
import onnx.helper as oh
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlcnn.counting import Operations, Reuse, form_operations, fused, original
from mlcnn.graph import from_proto, infer_shapes, inline
from mlcnn.ops.average_pool import AVERAGE_POOL
from mlcnn.passes import Fuse
from mlcnn.workload import RECORD_KEY, ConvLayer, Pool, layers

FLOAT = onnx.TensorProto.FLOAT
POOL = Pool((2, 2), (2, 2))

FORMS = [form.name for form in AVERAGE_POOL.forms]


def _layer(pool=POOL, **changes):
    values = {"N": 1, "K": 2, "C": 3, "H": 12, "W": 12, "R": 3, "S": 3} | changes
    return ConvLayer("conv", pool=pool, **values)


def test_box_takes_the_mean_everywhere_and_multiplies_at_the_pooled_outputs():
    # 11x11 windows of 3 channels at 3 additions, 5x5 outputs of 2 filters at 27 products.
    assert form_operations(_layer(), "box") == Operations(50 * 27, 3 * 121 * 3 + 50 * 26)


def test_box_multiplies_as_the_paper_says():
    layer = _layer(H=32, W=32, pads=(1, 1, 1, 1))
    counted = form_operations(layer, "box")
    assert counted.multiplications == fused(layer, Reuse.SHARED).multiplications
    assert counted.multiplications * 4 == layer.macs
    assert counted.additions > fused(layer, Reuse.SHARED).additions


def test_expanded_has_one_kernel_of_sixteen_taps():
    # (3 + 2 - 1)^2 = 16 taps for each of 3 channels, 2 filters and 5x5 outputs.
    assert form_operations(_layer(), "expanded") == Operations(48 * 50, 47 * 50)


def test_expanded_kernel_is_trimmed_to_the_input():
    # (3 + 8 - 1)^2 = 100 taps, of which the outermost meet only padding: 8x8 are left.
    layer = _layer(Pool((8, 8), (1, 1)), H=8, W=8, pads=(1, 1, 1, 1))
    assert form_operations(layer, "expanded") == Operations(3 * 64 * 2, (3 * 64 - 1) * 2)


def test_matvec_spreads_the_weights_where_the_input_is_no_larger_than_the_kernel():
    layer = _layer(H=2, W=2, pads=(1, 1, 1, 1))
    assert form_operations(layer, "matvec") == Operations(2 * 12, 2 * 11)


def test_pool_first_of_a_1x1_convolution():
    # 6x6 means of 3 channels, 6x6 outputs of 2 filters.
    expected = Operations(72 * 3, 36 * 3 * 3 + 72 * 2)
    assert form_operations(_layer(R=1, S=1), "pool-first") == expected


def test_unknown_form():
    with pytest.raises(ValueError, match="layer conv: no count for form 'magic', only for box"):
        form_operations(_layer(), "magic")


def test_a_layer_without_pool_counts_as_it_is():
    layer = _layer(pool=None)
    assert form_operations(layer, "box") == original(layer)


@st.composite
def _geometries(draw):
    """Layers before a pool whose windows are all whole; some 1x1, some before a global pool."""
    kind = draw(st.sampled_from(["any", "pointwise", "global"]))
    groups = 1 if kind == "global" else draw(st.sampled_from([1, 1, 2]))
    small = st.tuples(*[st.integers(1, 3)] * 2)
    changes = {"C": 2 * groups, "K": 3 * groups, "G": groups, "N": draw(st.integers(1, 2))}
    changes |= {"H": draw(st.integers(1, 9)), "W": draw(st.integers(1, 9))}
    kernel = (1, 1) if kind == "pointwise" else draw(small)
    changes |= {"R": kernel[0], "S": kernel[1]}
    if kind != "pointwise":
        pads = draw(st.tuples(*[st.integers(0, 3)] * 4))
        changes |= {"strides": draw(small), "dilations": draw(small), "pads": pads}
    layer = _layer(None, **changes)
    assume(layer.P >= 1 and layer.Q >= 1)
    window = (layer.P, layer.Q) if kind == "global" else draw(small)
    assume(window[0] <= layer.P and window[1] <= layer.Q and window != (1, 1))
    return replace(layer, pool=Pool(window, draw(small)))


def _network(layer):
    conv = oh.make_node(
        "Conv", ["x", "conv.weight"], ["h"], strides=layer.strides, pads=layer.pads,
        dilations=layer.dilations, group=layer.G,
    )  # fmt: skip
    pool = oh.make_node(
        "AveragePool", ["h"], ["y"], kernel_shape=layer.pool.kernel, strides=layer.pool.strides
    )
    weight = np.ones((layer.K, layer.C // layer.G, layer.R, layer.S), np.float32)
    graph = oh.make_graph(
        [conv, pool],
        "g",
        [oh.make_tensor_value_info("x", FLOAT, (layer.N, layer.C, layer.H, layer.W))],
        [oh.make_tensor_value_info("y", FLOAT, (layer.N, layer.K, *layer.pooled))],
        [onnx.numpy_helper.from_array(weight, "conv.weight")],
    )
    opset = [oh.make_opsetid("", 20)]
    return from_proto(oh.make_model(graph, opset_imports=opset, ir_version=9))


def _emitted(layer, form):
    """The operations of every node that ``fuse`` leaves; None where it takes no such form."""
    result = Fuse(form=form).apply(_network(layer))
    if not result.changes:
        return None
    model = inline(result.model)
    infer_shapes(model)
    for node in model.graph:
        node.metadata_props.pop(RECORD_KEY, None)
    total = Operations()
    for found in layers(model):
        total += original(found)
    for node in model.graph:
        if node.op_type in {"AveragePool", "GlobalAveragePool"}:
            kernel = node.attributes.get("kernel_shape")
            window = kernel.as_ints() if kernel else node.inputs[0].shape.numpy()[2:]
            outputs = math.prod(node.outputs[0].shape.numpy())
            total += Operations(additions=outputs * (math.prod(window) - 1))
    return total


@settings(max_examples=settings.default.max_examples // 4)
@given(layer=_geometries())
def test_the_counts_are_those_of_the_emitted_nodes(layer):
    emitted = {form: _emitted(layer, form) for form in FORMS}
    taken = {form: counted for form, counted in emitted.items() if counted is not None}
    assume(taken)
    assert taken == {form: form_operations(layer, form) for form in taken}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_among_those_compared(form):
    assert _emitted(_layer(Pool((4, 4), (1, 1)), H=4, W=4, R=1, S=1), form) is not None
