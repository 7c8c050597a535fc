"""Which algorithm computes a convolution."""

from collections.abc import Callable
from dataclasses import dataclass

from mlcnn.engines.native.program import Operation
from mlcnn.engines.native.winograd import Winograd
from mlcnn.errors import InputError

__all__ = ["ALGORITHMS", "Choose", "Geometry", "bunch_of", "chooser", "geometry_of"]

_BUNCH_BYTES = 3 << 20  # of transformed tiles and products, that stay in the outer caches
_LEAST_TILES = 24  # that each weight is read for
_WIDE = 6  # positions that the kernel computes at once


@dataclass(frozen=True, slots=True)
class Geometry:
    """A convolution without groups.

    Attributes:
        images: number of images.
        lanes: channels in each block of the input.
        filters: number of filters.
        rows: of a result.
        columns: of a result.
        kernel: its rows and columns.
        strides: along rows and columns.
        dilations: likewise.
        pads: above, left, below and right.
    """

    images: int
    lanes: tuple[int, ...]
    filters: int
    rows: int
    columns: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]

    def transforms(self) -> tuple[Winograd, ...]:
        """The transforms that compute it."""
        if (self.kernel, self.dilations) != ((3, 3), (1, 1)) or self.rows * self.columns == 1:
            return ()
        if self.strides == (1, 1):
            return Winograd.F43, Winograd.F23
        return (Winograd.F43_STRIDE_2, Winograd.F23_STRIDE_2) if self.strides == (2, 2) else ()


Choose = Callable[[Geometry], Winograd | None]
"""The transform that computes a convolution; None for every product."""


def geometry_of(operation: Operation, lanes: tuple[int, ...], filters: int) -> Geometry:
    """What an operation computes."""
    names = (
        *("kernel_rows", "kernel_columns", "stride_rows", "stride_columns"),
        *("dilation_rows", "dilation_columns", "top", "left", "bottom", "right"),
    )
    fields = operation.fields
    images, rows, columns = (int(fields[name]) for name in ("images", "rows", "columns"))
    k, l, s, t, d, e, *pads = (int(fields[name]) for name in names)
    top, left, bottom, right = pads
    return Geometry(
        images, lanes, filters, rows, columns, (k, l), (s, t), (d, e), (top, left, bottom, right)
    )


def bunch_of(geometry: Geometry, kind: Winograd, block: int) -> int:
    """Tiles that are computed together."""
    transform = kind.transform
    tiles = geometry.images * transform.tiles((geometry.rows, geometry.columns))
    blocks = len(geometry.lanes) + -(-geometry.filters // block)
    most = max(_LEAST_TILES, _BUNCH_BYTES // (transform.values**2 * blocks * block * 4))
    bunches = -(-tiles // most)
    return min(tiles, -(-(-(-tiles // bunches)) // _WIDE) * _WIDE)


def _direct(geometry: Geometry) -> None:
    del geometry


def _winograd(geometry: Geometry) -> Winograd | None:
    return next(iter(geometry.transforms()), None)


ALGORITHMS: dict[str, Choose] = {"auto": _winograd, "direct": _direct, "winograd": _winograd}


def chooser(algorithm: str) -> Choose:
    """What chooses in a way given by name."""
    if algorithm not in ALGORITHMS:
        raise InputError(f"algorithm {algorithm!r}: one of {', '.join(ALGORITHMS)} is required")
    return ALGORITHMS[algorithm]
