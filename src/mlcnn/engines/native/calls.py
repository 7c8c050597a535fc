"""A program that several threads call at once, with the addresses of arrays."""

import ctypes
from collections.abc import Sequence

from mlcnn.engines.native.program import Call, Program

__all__ = ["Calls"]


class _Slot:
    """A program whose arrays change from call to call.

    Attributes:
        call: runs it.
    """

    def __init__(self, program: Program, arrays: int, threads: int) -> None:
        self._pointers = (ctypes.c_void_p * arrays)()
        self.call: Call = program.at(self._pointers, threads)

    def point(self, addresses: Sequence[int]) -> None:
        """Read and write there from now on."""
        self._pointers[:] = addresses


class Calls:
    """A program for inputs of these shapes.

    A program's memory is one run's: a thread that finds it in use takes another one, which shares
    steps and weights with it and is kept for the next time. So threads don't wait for each other,
    and there are as many memories as calls ran at once.

    Attributes:
        outputs: shapes of the outputs.
    """

    def __init__(
        self, program: Program, inputs: int, outputs: tuple[tuple[int, ...], ...], threads: int
    ) -> None:
        """Make it ready.

        Args:
            program: the program.
            inputs: number of arrays that it reads.
            outputs: shapes of the arrays that it writes.
            threads: that compute one call.
        """
        self.outputs = outputs
        self._program, self._threads = program, threads
        self._arrays = inputs + len(outputs)
        self._idle = [_Slot(program, self._arrays, threads)]

    def __call__(self, addresses: Sequence[int]) -> None:
        """Run once.

        Args:
            addresses: of the inputs and then of the outputs: each an array of float32 (or bool,
                where an input is flags of positions) without gaps.
        """
        slot = self.taken()
        try:
            slot.point(addresses)
            slot.call()
        finally:
            self._idle.append(slot)

    def taken(self) -> _Slot:
        """A program that nobody else calls from now on."""
        try:
            return self._idle.pop()
        except IndexError:
            return _Slot(self._program.twin(), self._arrays, self._threads)
