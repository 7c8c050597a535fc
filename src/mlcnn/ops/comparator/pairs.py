"""Which two taps of a channel each map compares."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlcnn.errors import InputError

__all__ = ["SHARED", "Pairs", "drawn", "share_of"]

Ints = NDArray[np.int64]

SHARED = 16
"""Neighbouring channels that compare the same taps, by default: those of a vector of codes."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Comparisons of a layer: ``count`` of every channel, pattern after pattern.

    Map ``p C + c`` is pattern p of channel c. A tap is ``row * columns + column`` of the window.

    Attributes:
        first: the tap that has to be greater, shape (count, channels).
        second: the other one, likewise.
        kernel: rows and columns of the window.
    """

    first: Ints
    second: Ints
    kernel: tuple[int, int]

    def __post_init__(self) -> None:
        """Check the taps.

        Raises:
            InputError: a pair has one tap twice, or one outside the window.
        """
        if self.first.shape != self.second.shape or self.first.ndim != 2 or not self.first.size:
            raise InputError(
                f"pairs of taps: two arrays of one shape (pairs, channels) are required, got "
                f"{list(self.first.shape)} and {list(self.second.shape)}"
            )
        rows, columns = self.kernel
        taps = np.stack([self.first, self.second])
        outside = (taps < 0) | (taps >= rows * columns)
        if outside.any():
            _, pattern, channel = np.argwhere(outside)[0]
            raise InputError(
                f"pairs of taps: pair {pattern} of channel {channel} has tap "
                f"{int(taps[outside][0])}; a window of {rows}x{columns} has taps 0 to "
                f"{rows * columns - 1}, row by row"
            )
        if (self.first == self.second).any():
            pattern, channel = np.argwhere(self.first == self.second)[0]
            raise InputError(
                f"pairs of taps: pair {pattern} of channel {channel} is tap "
                f"{self.first[pattern, channel]} twice, which is never greater than itself; give "
                "two different taps"
            )

    @property
    def count(self) -> int:
        """Pairs of a channel."""
        return len(self.first)

    @property
    def channels(self) -> int:
        """Channels that are compared."""
        return self.first.shape[1]

    @property
    def maps(self) -> int:
        """Comparisons of a position."""
        return self.first.size

    @property
    def shared(self) -> int:
        """Neighbouring channels that compare the same taps; it divides the channels."""
        return share_of(self.first, self.second)

    def flat(self) -> tuple[Ints, Ints]:
        """Both taps of each map among those of all channels, channel by channel."""
        rows, columns = self.kernel
        at = np.arange(self.channels) * rows * columns
        return (self.first + at).reshape(-1), (self.second + at).reshape(-1)

    @classmethod
    def from_flat(
        cls, first: Ints, second: Ints, channels: int, kernel: tuple[int, int]
    ) -> "Pairs":
        """The pairs of what ``flat`` gives.

        Raises:
            InputError: the maps are not those of so many channels, pattern after pattern.
        """
        taps = kernel[0] * kernel[1]
        both = [np.asarray(one).reshape(-1, channels) for one in (first, second)]
        own = np.arange(channels) * taps
        for one in both:
            wrong = (one < own) | (one >= own + taps)
            if wrong.any():
                pattern, channel = np.argwhere(wrong)[0]
                raise InputError(
                    f"pairs of taps: map {pattern * channels + channel} has place "
                    f"{one[pattern, channel]}; map p C + c compares taps of channel c, which has "
                    f"the places {own[channel]} to {own[channel] + taps - 1}"
                )
        return cls(both[0] - own, both[1] - own, kernel)

    def turned(self, signs: NDArray[np.floating]) -> "Pairs":
        """The pairs where channels are negated: the other tap has to be greater there.

        Args:
            signs: of what each channel is multiplied by, shape (channels,).
        """
        negative = signs < 0
        return Pairs(
            np.where(negative, self.second, self.first),
            np.where(negative, self.first, self.second),
            self.kernel,
        )


def share_of(first: Ints, second: Ints) -> int:
    """Neighbouring channels that compare the same taps; see ``Pairs``."""
    channels = first.shape[1]
    changes = (np.diff(first, axis=1) != 0).any(0) | (np.diff(second, axis=1) != 0).any(0)
    return math.gcd(channels, *(int(at) + 1 for at in np.flatnonzero(changes)))


def drawn(
    count: int, channels: int, kernel: tuple[int, int], *, shared: int = SHARED,
    centre: bool = False, seed: int | Sequence[int] = 0,
) -> Pairs:  # fmt: skip
    """Pairs drawn at random, all different in a channel as long as there are so many.

    Args:
        count: of each channel.
        channels: of the input.
        kernel: of the window, of two taps or more.
        shared: neighbouring channels that have the same pairs; 1 for pairs of their own.
        centre: compare taps with the one in the middle of the window, as local binary patterns do.
        seed: the same seed gives the same pairs.

    Raises:
        InputError: a window of one tap, or less than one pair or channel to share it.
    """
    taps = kernel[0] * kernel[1]
    if min(count, shared) < 1 or taps < 2:
        raise InputError(
            f"{count} pairs of taps in a window of {kernel[0]}x{kernel[1]}, shared by {shared} "
            "channels: one pair or more, one channel or more, and a window of two taps or more are "
            "required"
        )
    middle = kernel[0] // 2 * kernel[1] + kernel[1] // 2
    seconds = [middle] if centre else range(taps)
    every = np.array([(a, b) for a in range(taps) for b in seconds if a != b])
    generator, groups = np.random.default_rng(seed), -(-channels // shared)
    rounds = -(-count // len(every))
    taken = np.stack(
        [
            np.concatenate([generator.permutation(every) for _ in range(rounds)])[:count]
            for _ in range(groups)
        ]
    )
    each = np.repeat(taken, shared, axis=0)[:channels]
    return Pairs(each[:, :, 0].T.copy(), each[:, :, 1].T.copy(), kernel)
