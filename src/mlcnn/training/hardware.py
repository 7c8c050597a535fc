"""Where training runs: the device, the precision, and the processes that share a batch.

Autocast and ``DistributedDataParallel`` are torch's own. Lightning Fabric would wrap the same two
calls: but it wraps a module once, while phases here change which parameters have gradients, so
that the wrapper has to be made anew; and the core installation would no longer train.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from mlcnn.errors import InputError

__all__ = [
    "ONE_PROCESS",
    "Hardware",
    "Precision",
    "Processes",
    "processes",
    "require_device",
    "set_threads",
]


_IMAGES = 4  # dimensions


class Precision(StrEnum):
    """In which type convolutions and products are computed; weights are float32 in both."""

    FP32 = "fp32"
    BF16 = "bf16"


@dataclass(frozen=True, slots=True)
class Hardware:
    """Where and in which precision a network runs.

    Attributes:
        device: torch's name of it.
        precision: of convolutions and products.
        channels_last: keep the channels of a pixel together in memory; None: with bf16.
    """

    device: str = "cpu"
    precision: Precision = Precision.FP32
    channels_last: bool | None = None

    def __post_init__(self) -> None:
        require_device(self.device, "--device")

    @property
    def memory_format(self) -> torch.memory_format:
        """How images and filters lie in memory."""
        last = (
            self.precision is Precision.BF16 if self.channels_last is None else self.channels_last
        )
        return torch.channels_last if last else torch.contiguous_format

    def autocast(self) -> torch.autocast:
        """Within it, operators run in the precision."""
        kind = torch.device(self.device).type
        return torch.autocast(kind, torch.bfloat16, enabled=self.precision is Precision.BF16)

    def place(self, module: nn.Module) -> None:
        """Move a module there, in place."""
        module.to(device=self.device)
        # Not by the module's own method: it takes weights of five dimensions for images, too.
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.ndim == _IMAGES:
                tensor.data = tensor.data.contiguous(memory_format=self.memory_format)


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes that share a batch.

    Attributes:
        rank: which of them this is.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    def sum(self, *values: float) -> tuple[float, ...]:
        """Each value, summed over the processes, in float64."""
        if self.size == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64)
        if distributed.get_backend() == "nccl":
            total = total.cuda()
        distributed.all_reduce(total)
        return tuple(total.tolist())

    def first(self, text: str) -> str:
        """What the first process has; that of the others is of no account."""
        box = [text]
        if self.size > 1:
            distributed.broadcast_object_list(box)
        return box[0]

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module whose gradients are averaged over the processes."""
        trained = any(parameter.requires_grad for parameter in module.parameters())
        return DistributedDataParallel(module) if self.size > 1 and trained else module

    def part(self, values: Tensor) -> Tensor:
        """What this process takes of a batch."""
        return values[self.rank :: self.size]


ONE_PROCESS = Processes()


def require_device(device: str, option: str) -> None:
    """Refuse a device that is not there.

    Args:
        device: torch's name of it.
        option: what the message calls it.

    Raises:
        InputError: torch cannot use it.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        msg = f"{option} {device}: torch has no such device here ({reason}); use cpu"
        raise InputError(msg) from error


@contextmanager
def processes(device: str) -> Generator[tuple[Processes, str]]:
    """The processes that ``torchrun`` started, connected; one alone otherwise.

    Args:
        device: ``cuda`` becomes the process's own.

    Yields:
        The processes, and the device.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ONE_PROCESS, device
        return
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Processes(distributed.get_rank(), size), device
    finally:
        distributed.destroy_process_group()


def set_threads(count: int | None) -> None:
    """Let torch's operators run on so many threads of the processor; None leaves that to torch.

    Raises:
        InputError: less than one.
    """
    if count is None:
        return
    if count < 1:
        raise InputError(f"--threads {count}: at least 1 is required")
    torch.set_num_threads(count)
