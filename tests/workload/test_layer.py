"""Windows and sizes of a layer against PyTorch and a walk over positions."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from mlcnn.workload import ConvLayer, Pool


@st.composite
def _pools(draw):
    kernel = draw(st.integers(1, 5))
    pads = (draw(st.integers(0, kernel // 2)),) * 4
    size = draw(st.integers(1, 20))
    assume(size + 2 * pads[0] >= kernel)
    stride = draw(st.integers(1, 6))
    flags = draw(st.tuples(st.booleans(), st.booleans()))
    return size, Pool((kernel, kernel), (stride, stride), pads, *flags)


@given(_pools())
def test_windows_are_those_of_pytorch(case):
    size, pool = case
    x = torch.rand(1, 1, size, size, dtype=torch.float64)
    expected = F.avg_pool2d(
        x, pool.kernel, pool.strides, pool.pads[:2], pool.ceil_mode, pool.count_include_pad
    )
    rows, columns = pool.windows(size, 0), pool.windows(size, 1)
    assert expected.shape[2:] == (len(rows), len(columns))
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            window = x[
                0,
                0,
                row.start : row.start + row.length,
                column.start : column.start + column.length,
            ]
            assert window.numel() == row.length * column.length
            divisor = row.padded * column.padded if pool.count_include_pad else window.numel()
            assert float(window.sum()) / divisor == pytest.approx(float(expected[0, 0, i, j]))
    whole = all(w.length == pool.kernel[0] for w in rows)
    assert pool.is_plain(size, size) == whole


@given(
    sizes=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilations=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    pads=st.tuples(*[st.integers(0, 3)] * 4),
)
def test_output_size_is_that_of_pytorch(sizes, kernel, strides, dilations, pads):
    layer = ConvLayer(
        "l", N=1, K=4, C=6, H=sizes[0], W=sizes[1], R=kernel[0], S=kernel[1], G=2,
        strides=strides, dilations=dilations, pads=pads,
    )  # fmt: skip
    assume(layer.P >= 1 and layer.Q >= 1)
    x = F.pad(torch.zeros(1, 6, *sizes), (pads[1], pads[3], pads[0], pads[2]))
    weight = torch.zeros(4, 3, *kernel)
    output = F.conv2d(x, weight, None, strides, 0, dilations, 2)
    assert (layer.P, layer.Q) == layer.pooled == output.shape[2:]
    assert layer.weights == weight.numel()
    assert layer.macs == output.numel() * 3 * layer.kernel_area


@pytest.mark.parametrize("changes", [{"K": 0}, {"H": -1}, {"strides": (0, 1)}, {"G": 4}])
def test_impossible_layers(changes):
    values = {"N": 1, "K": 6, "C": 6, "H": 8, "W": 8, "R": 3, "S": 3} | changes
    with pytest.raises(ValueError, match="layer bad"):
        ConvLayer("bad", **values)


def test_impossible_pool():
    with pytest.raises(ValueError, match="kernel and strides must be positive"):
        Pool((2, 2), (0, 2))
