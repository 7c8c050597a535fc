"""Where the boxes of a drawing stand: in layers, each below all that it reads.

The usual way of drawing directed graphs (Sugiyama, Tagawa and Toda, 1981): layers by the longest
path, order by barycentres, then the places nearest to the neighbours that overlap nothing. An edge
that passes layers keeps a lane free there, so that it crosses no box.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Layout", "lay_out"]

_GAP_X, _GAP_Y, _LANE = 22.0, 34.0, 10.0
_SWEEPS = 12


@dataclass(frozen=True, slots=True)
class Layout:
    """Places in CSS pixels, from the upper left corner.

    Attributes:
        width: of the whole.
        height: of the whole.
        centres: (x, y) of the middle of each box.
        lines: for each edge the points that it passes, from the lower side of its source to the
            upper side of its reader.
    """

    width: float
    height: float
    centres: tuple[tuple[float, float], ...]
    lines: tuple[tuple[tuple[float, float], ...], ...]


def lay_out(sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]) -> Layout:
    """Lay boxes out.

    Args:
        sizes: (width, height) of each.
        edges: (source, reader); a source comes before its readers.
    """
    if not sizes:
        return Layout(0.0, 0.0, (), ())
    layers = _layers(len(sizes), edges)
    widths = [width for width, _ in sizes]
    steps, lanes = list[tuple[int, int]](), list[list[int]]()
    for source, reader in edges:
        lane = [source]
        for layer in range(layers[source] + 1, layers[reader]):
            lane.append(len(widths))
            widths.append(_LANE)
            layers.append(layer)
        lane.append(reader)
        lanes.append(lane)
        steps += itertools.pairwise(lane)
    near = _near(len(widths), steps)
    rows = _ordered(layers, near)
    xs = _spread(rows, near, widths)
    heights = [max((sizes[i][1] for i in row if i < len(sizes)), default=0.0) for row in rows]
    ys = [sum(heights[:row]) + heights[row] / 2 + _GAP_Y * row for row in range(len(rows))]
    left = min(x - width / 2 for x, width in zip(xs, widths, strict=True))
    centres = [(x - left, ys[layer]) for x, layer in zip(xs, layers, strict=True)]
    right = max(x + width / 2 for (x, _), width in zip(centres, widths, strict=True))

    def line(lane: list[int]) -> tuple[tuple[float, float], ...]:
        """Upright beside the boxes of each layer, so that it turns between two layers alone."""
        half = [heights[layers[one]] / 2 for one in lane]
        ends = [
            [(x, y - height), (x, y + height)]
            for (x, y), height in zip((centres[one] for one in lane), half, strict=True)
        ]
        (x0, y0), (x1, y1) = centres[lane[0]], centres[lane[-1]]
        first = [(x0, y0 + sizes[lane[0]][1] / 2), ends[0][1]]
        last = [ends[-1][0], (x1, y1 - sizes[lane[-1]][1] / 2)]
        return (*first, *(point for pair in ends[1:-1] for point in pair), *last)

    lines = tuple(map(line, lanes))
    return Layout(right, ys[-1] + heights[-1] / 2, tuple(centres[: len(sizes)]), lines)


def _layers(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The longest path from above; what reads nothing drawn stands right above its readers."""
    layers = [0] * count
    for source, reader in sorted(edges, key=lambda edge: edge[1]):
        layers[reader] = max(layers[reader], layers[source] + 1)
    readers = {reader for _, reader in edges}
    for one in range(count):
        below = [layers[reader] for source, reader in edges if source == one]
        if one not in readers and below:
            layers[one] = min(below) - 1
    return layers


def _near(count: int, steps: Sequence[tuple[int, int]]) -> tuple[list[list[int]], list[list[int]]]:
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for source, reader in steps:
        above[reader].append(source)
        below[source].append(reader)
    return above, below


def _ordered(layers: list[int], near: tuple[list[list[int]], list[list[int]]]) -> list[list[int]]:
    """The boxes of each layer from left to right, so that few edges cross."""
    rows: list[list[int]] = [[] for _ in range(max(layers) + 1)]
    for one, layer in enumerate(layers):
        rows[layer].append(one)
    for sweep in range(_SWEEPS):
        side, order = near[sweep % 2], range(len(rows))
        place = {one: index for row in rows for index, one in enumerate(row)}
        for number in order if sweep % 2 == 0 else reversed(order):
            row = rows[number]
            middle = {
                one: sum(place[other] for other in side[one]) / len(side[one])
                if side[one]
                else float(place[one])
                for one in row
            }
            row.sort(key=lambda one, middle=middle, place=place: (middle[one], place[one]))
            place |= {one: index for index, one in enumerate(row)}
    return rows


def _spread(
    rows: list[list[int]], near: tuple[list[list[int]], list[list[int]]], widths: list[float]
) -> list[float]:
    """The middle of each box along its row, near to that of its neighbours."""
    xs = [0.0] * len(widths)
    for row in rows:
        _settle(row, [0.0] * len(row), xs, widths)
    for sweep in range(_SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted: list[float] = []
            for one in row:
                others = [xs[other] for other in (*near[0][one], *near[1][one])]
                wanted.append(sum(others) / len(others) if others else xs[one])
            _settle(row, wanted, xs, widths)
    return xs


def _settle(row: list[int], wanted: list[float], xs: list[float], widths: list[float]) -> None:
    """The places with the least squared distance to those wanted at which nothing overlaps.

    Measured from where each would stand if all stood as close as they may, the places must not
    fall: an isotonic regression, by pooling adjacent violators.
    """
    offsets = [0.0]
    for one, other in itertools.pairwise(row):
        offsets.append(offsets[-1] + (widths[one] + widths[other]) / 2 + _GAP_X)
    blocks: list[tuple[float, int]] = []
    for place, offset in zip(wanted, offsets, strict=True):
        total, count = place - offset, 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / count:
            more, boxes = blocks.pop()
            total, count = total + more, count + boxes
        blocks.append((total, count))
    means = [total / count for total, count in blocks for _ in range(count)]
    for one, mean, offset in zip(row, means, offsets, strict=True):
        xs[one] = mean + offset
