"""The paper's closed forms against its text, and the general counts against them."""

import pytest
from counting import paper

from mlcnn.counting import Reuse, fused
from mlcnn.workload import ConvLayer, Pool

POOL = Pool((2, 2), (2, 2))


def _row(size, kernel, stride):
    """One filter, one channel, and rows for one pooled row."""
    return ConvLayer(
        "row", N=1, K=1, C=1, H=kernel + stride, W=size, R=kernel, S=kernel,
        strides=(stride, stride), pool=POOL,
    )  # fmt: skip


def _single(kernel, stride):
    return _row(kernel + stride, kernel, stride)


@pytest.mark.parametrize(("kernel", "share"), [(11, 0.228), (5, 0.202), (2, 0.133)])
def test_equation_1_gives_the_rates_of_table_2(kernel, share):
    assert paper.lar_reduction(kernel, 1) == pytest.approx(share, abs=5e-4)
    saved = paper.additions(kernel) - paper.additions_lar(kernel, 1)
    assert saved / paper.additions(kernel) == pytest.approx(paper.lar_reduction(kernel, 1))


def test_published_numbers():
    assert (paper.additions(11), paper.additions_lar(11, 1)) == (483, 373)
    assert paper.row_additions(28, 13, 1) == 5400
    assert paper.row_additions_gar(28, 13, 1) == 2397
    assert paper.row_additions_both(14, 5, 1) == 255


def test_equation_4_approaches_a_quarter():
    assert paper.lar_reduction(10_000, 1) == pytest.approx(0.25, abs=1e-4)


@pytest.mark.parametrize("size", [28, 32, 224])
def test_equation_5(size):
    saved = paper.row_additions(size, 13, 1) - paper.row_additions_gar(size, 13, 1)
    # (214.5 D - 3003) / (337.5 D - 4050), for an even number of outputs.
    assert saved == 214.5 * size - 3003
    assert paper.row_additions(size, 13, 1) == 337.5 * size - 4050
    assert paper.row_additions_gar(size, 13, 1) == 123 * size - 1047


def test_equation_6_approaches_63_6_percent():
    size = 1_000_000
    kept = paper.row_additions_gar(size, 13, 1) / paper.row_additions(size, 13, 1)
    assert 1 - kept == pytest.approx(0.636, abs=5e-4)


def test_equation_7_approaches_three_quarters():
    kernel = 2_001
    kept = paper.row_additions_both(200 * kernel, kernel, 1) / paper.row_additions(
        200 * kernel, kernel, 1
    )
    assert 1 - kept == pytest.approx(0.75, abs=2e-3)


@pytest.mark.parametrize("kernel", range(1, 14))
@pytest.mark.parametrize("stride", [1, 2, 3, 5, 11])
def test_one_output(kernel, stride):
    layer = _single(kernel, stride)
    assert fused(layer, Reuse.NONE).additions == paper.additions(kernel)
    if stride <= kernel:
        assert fused(layer, Reuse.LAR).additions == paper.additions_lar(kernel, stride)
    else:  # no column is shared
        assert fused(layer, Reuse.LAR).additions == paper.additions(kernel)


@pytest.mark.parametrize("size", [23, 27, 28, 31, 32])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 1), (3, 1), (5, 1), (5, 2), (13, 3), (13, 5)])
def test_one_row(size, kernel, stride):
    layer = _row(size, kernel, stride)
    assert fused(layer, Reuse.NONE).additions == paper.row_additions(size, kernel, stride)
    assert fused(layer, Reuse.GAR).additions == paper.row_additions_gar(size, kernel, stride)
    assert fused(layer, Reuse.PAPER).additions == paper.row_additions_both(size, kernel, stride)


def test_equation_2_where_the_outputs_use_the_whole_row():
    for kernel in (3, 5, 13, 15):
        outputs = paper.row_outputs(28, kernel, 1)
        expected = 3 * kernel * (28 - 1) + outputs * (kernel**2 - 1)
        assert paper.row_additions_gar(28, kernel, 1) == expected
