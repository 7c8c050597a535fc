"""Laws of the layout, on random graphs: nothing overlaps, lines go down and cross no box."""

from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from mlcnn.report.drawing.layout import Layout, lay_out

Sizes = list[tuple[float, float]]
Edges = list[tuple[int, int]]
EPSILON = 1e-6


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Sizes, Edges]:
    count = draw(st.integers(1, 14))
    sizes = [(draw(st.integers(10, 200)), draw(st.integers(10, 90))) for _ in range(count)]
    every = [(a, b) for b in range(count) for a in range(b)]
    edges = draw(st.lists(st.sampled_from(every), unique=True, max_size=24)) if every else []
    return [(float(w), float(h)) for w, h in sizes], edges


def box(layout: Layout, sizes: Sizes, one: int) -> tuple[float, float, float, float]:
    (x, y), (width, height) = layout.centres[one], sizes[one]
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


@given(graphs())
def test_no_two_boxes_overlap_and_all_are_inside(graph: tuple[Sizes, Edges]) -> None:
    sizes, edges = graph
    layout = lay_out(sizes, edges)
    boxes = [box(layout, sizes, one) for one in range(len(sizes))]
    for a, b in combinations(boxes, 2):
        assert (
            a[2] <= b[0] + EPSILON or b[2] <= a[0] + EPSILON
            or a[3] <= b[1] + EPSILON or b[3] <= a[1] + EPSILON
        )  # fmt: skip
    for left, top, right, bottom in boxes:
        assert left >= -EPSILON
        assert top >= -EPSILON
        assert right <= layout.width + EPSILON
        assert bottom <= layout.height + EPSILON


@given(graphs())
def test_lines_go_down_from_box_to_box(graph: tuple[Sizes, Edges]) -> None:
    sizes, edges = graph
    layout = lay_out(sizes, edges)
    assert len(layout.lines) == len(edges)
    for (source, reader), line in zip(edges, layout.lines, strict=True):
        assert line[0] == (layout.centres[source][0], box(layout, sizes, source)[3])
        assert line[-1] == (layout.centres[reader][0], box(layout, sizes, reader)[1])
        assert all(y <= following + EPSILON for (_, y), (_, following) in pairwise(line))
        assert layout.centres[source][1] < layout.centres[reader][1]


@given(graphs())
def test_no_line_crosses_a_box(graph: tuple[Sizes, Edges]) -> None:
    """Lines turn between the layers alone: beside a box they are upright, and not in it."""
    sizes, edges = graph
    layout = lay_out(sizes, edges)
    boxes = [box(layout, sizes, one) for one in range(len(sizes))]
    for ends, line in zip(edges, layout.lines, strict=True):
        for (x0, y0), (x1, y1) in pairwise(line):
            for one, (left, top, right, bottom) in enumerate(boxes):
                if min(y1, bottom) - max(y0, top) <= EPSILON or one in ends:
                    continue
                assert x0 == x1
                assert not left - EPSILON < x0 < right + EPSILON


@given(graphs())
def test_the_same_graph_is_laid_out_the_same(graph: tuple[Sizes, Edges]) -> None:
    assert lay_out(*graph) == lay_out(*graph)


def test_a_chain_is_a_column() -> None:
    layout = lay_out([(80.0, 40.0)] * 4, [(0, 1), (1, 2), (2, 3)])
    assert {x for x, _ in layout.centres} == {40.0}
    assert layout.width == 80.0


def test_branches_stand_side_by_side_under_their_source() -> None:
    layout = lay_out([(80.0, 40.0)] * 4, [(0, 1), (0, 2), (1, 3), (2, 3)])
    (top, left, right, bottom) = layout.centres
    assert left[1] == right[1]
    assert left[0] < top[0] < right[0]
    assert top[0] == bottom[0] == (left[0] + right[0]) / 2


def test_nothing_takes_no_room() -> None:
    assert lay_out([], []) == Layout(0.0, 0.0, (), ())
