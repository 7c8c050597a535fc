"""Laws that the counts obey."""

from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from mlcnn.counting import Operations, Reuse, fused, original
from mlcnn.workload import ConvLayer, Pool


@st.composite
def layers(draw, *, overlap):
    """Layers of any geometry; without overlap, pool windows are whole and lie apart."""
    groups = draw(st.sampled_from([1, 1, 2, 4]))
    sizes = st.integers(1, 11)
    window = draw(st.tuples(*[st.integers(1, 8)] * 2))
    strides = tuple(draw(st.integers(1 if overlap else k, k + 2)) for k in window)
    pads = tuple(draw(st.integers(0, window[axis % 2] // 2)) if overlap else 0 for axis in range(4))
    layer = ConvLayer(
        "any",
        N=draw(st.integers(1, 3)),
        K=groups * draw(st.integers(1, 16)),
        C=groups * draw(st.integers(1, 16)),
        H=draw(st.integers(1, 64)),
        W=draw(st.integers(1, 64)),
        R=draw(sizes),
        S=draw(sizes),
        G=groups,
        strides=draw(st.tuples(*[st.integers(1, 3)] * 2)),
        dilations=draw(st.tuples(*[st.integers(1, 3)] * 2)),
        pads=draw(st.tuples(*[st.integers(0, 5)] * 4)),
        pool=Pool(window, strides, pads, ceil_mode=overlap and draw(st.booleans())),
    )
    assume(layer.P >= 1 and layer.Q >= 1 and min(layer.pooled) >= 1)
    # Windows count as whole ones here: one that is larger than the padded image never is.
    padded = layer.P + pads[0] + pads[2], layer.Q + pads[1] + pads[3]
    assume(all(size >= k for size, k in zip(padded, window, strict=True)))
    return layer


@given(layer=layers(overlap=False))
def test_fewer_additions_from_left_to_right(layer):
    counts = {reuse: fused(layer, reuse).additions for reuse in Reuse}
    before = original(layer).additions
    assert counts[Reuse.SHARED] <= counts[Reuse.ALGORITHM] <= counts[Reuse.PAPER]
    assert counts[Reuse.PAPER] <= counts[Reuse.GAR] <= counts[Reuse.NONE]
    assert counts[Reuse.PAPER] <= counts[Reuse.LAR] <= counts[Reuse.NONE] <= before


@given(layer=layers(overlap=True))
def test_more_reuse_never_adds_even_where_windows_overlap(layer):
    counts = {reuse: fused(layer, reuse).additions for reuse in Reuse}
    assert counts[Reuse.SHARED] <= counts[Reuse.ALGORITHM] <= counts[Reuse.PAPER]
    assert counts[Reuse.PAPER] <= min(counts[Reuse.GAR], counts[Reuse.LAR])
    assert max(counts[Reuse.GAR], counts[Reuse.LAR]) <= counts[Reuse.NONE]


def test_overlapping_windows_can_cost_the_paper_more_than_it_saves():
    pool = Pool((3, 3), (2, 2), (1, 1, 1, 1))
    layer = ConvLayer("b3.b1", N=1, K=128, C=256, H=32, W=32, R=1, S=1, pool=pool)
    assert fused(layer, Reuse.PAPER).additions > original(layer).additions


@given(layer=layers(overlap=True))
def test_multiplications_fall_by_the_pooled_share_whatever_the_reuse(layer):
    before = original(layer).multiplications
    assert before == layer.macs
    for reuse in Reuse:
        after = fused(layer, reuse).multiplications
        assert after * layer.P * layer.Q == before * layer.pooled[0] * layer.pooled[1]


@given(layer=layers(overlap=True))
def test_a_window_of_one_element_is_the_strided_convolution(layer):
    trivial = replace(layer, pool=Pool((1, 1), (1, 1)))
    plain = replace(layer, pool=None)
    assert original(trivial) == original(plain)
    for reuse in Reuse:
        assert fused(trivial, reuse) == fused(plain, reuse) == original(plain)


@given(layer=layers(overlap=True), batch=st.integers(1, 9))
def test_a_batch_costs_as_many_images(layer, batch):
    one, many = replace(layer, N=1), replace(layer, N=batch)
    assert original(many) == batch * original(one)
    for reuse in Reuse:
        assert fused(many, reuse) == batch * fused(one, reuse)


@given(layer=layers(overlap=True))
def test_groups_are_separate_layers(layer):
    """A grouped layer costs what its groups cost one by one."""
    one = replace(layer, K=layer.K // layer.G, C=layer.C // layer.G, G=1)
    assert original(layer) == layer.G * original(one)
    for reuse in Reuse:
        assert fused(layer, reuse) == layer.G * fused(one, reuse)


@given(layer=layers(overlap=True))
def test_a_transposed_layer_multiplies_as_much(layer):
    pool = layer.pool
    turned = replace(
        layer,
        H=layer.W,
        W=layer.H,
        R=layer.S,
        S=layer.R,
        strides=layer.strides[::-1],
        dilations=layer.dilations[::-1],
        pads=(layer.pads[1], layer.pads[0], layer.pads[3], layer.pads[2]),
        pool=Pool(
            pool.kernel[::-1],
            pool.strides[::-1],
            (pool.pads[1], pool.pads[0], pool.pads[3], pool.pads[2]),
            ceil_mode=pool.ceil_mode,
        ),
    )
    assert original(turned) == original(layer)
    for reuse in (Reuse.NONE, Reuse.GAR):
        expected = fused(layer, reuse).multiplications
        assert fused(turned, reuse).multiplications == expected
    assert fused(turned, Reuse.NONE) == fused(layer, Reuse.NONE)


def test_operations_add_up():
    assert Operations(1, 2) + 3 * Operations(10, 20) == Operations(31, 62)
