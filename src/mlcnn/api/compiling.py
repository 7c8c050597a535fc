"""A PyTorch module that runs rewritten, in the engine that is best for it: `mlcnn.compile`."""

import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import onnx
import onnx_ir as ir
import torch
from torch import Tensor, nn

from mlcnn import graph
from mlcnn.api.forms import CALL, ONE, Form, flatten
from mlcnn.api.in_engine import AUTO, CompileOptions, InEngine, in_engine
from mlcnn.api.replacing import Networks, Weights
from mlcnn.errors import InputError
from mlcnn.graph import ExampleInput

__all__ = ["Compiled", "compile"]

_MOST_CHANGES = 3
_LOST = ("_lock", "_weights", "_pending", "_networks", "_places")


def compile(  # noqa: A001 - as torch has it
    module: nn.Module,
    example_input: ExampleInput,
    *,
    engine: str = AUTO,
    threads: int | None = None,
    check: bool = True,
) -> "Compiled":
    """A module that computes the same, rewritten by the exact passes, in the engine best for it.

    It is for inference on the CPU, and shares its weights with the module: where they change, the
    network is made anew at the next call.

    Args:
        module: in inference (``module.eval()``); it is not changed.
        example_input: a tensor, a tuple or list of arguments, or a dict of arguments by name.
            Other batches and sizes may follow; a new height or width makes another network.
        engine: name of an engine; ``auto``: the first of ``native``, ``openvino`` and
            ``onnxruntime`` that is installed and takes the network; ``measured``: the fastest.
        threads: that one call computes with; by default as many as torch.
        check: check each rewrite in float64, and the whole network in ONNX Runtime.

    Returns:
        The module, ready to run. Several threads may call it at once.

    Raises:
        InputError: an unknown engine; a module that fails on the example, is not on the CPU, or
            cannot be traced as a whole: the message names the break.
        UnsupportedError: no engine runs the network, or none computes what the module does.

    Example:
        >>> import mlcnn, torch
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.AvgPool2d(2)).eval()
        >>> fast = mlcnn.compile(network, torch.randn(1, 1, 8, 8), engine="onnxruntime")
        >>> fast(torch.randn(5, 1, 8, 8)).shape
        torch.Size([5, 2, 3, 3])
    """
    if not isinstance(module, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance] - users
        raise InputError(
            f"mlcnn.compile takes a torch module, got a {type(module).__name__}; for a function "
            'use torch.compile(function, backend="mlcnn")'
        )
    return Compiled(module, example_input, CompileOptions(engine, threads, check))


class Compiled(nn.Module):
    """What `compile` returns: the module's inputs and outputs, computed by other means.

    ``state_dict`` and ``load_state_dict`` are the module's own, without a prefix; attributes that
    it lacks are the module's too. It can be pickled and copied with its networks.

    Attributes:
        original: the module that it stands for.
        options: how it was compiled.
    """

    original: nn.Module

    def __init__(
        self, original: nn.Module, example_input: ExampleInput, options: CompileOptions
    ) -> None:
        """Make the network; see `compile`."""
        super().__init__()
        self.original, self.options = original, options
        self.training = original.training
        self._told: set[str] = set()
        self._returned: Form = ONE
        self._form, tensors = _example(example_input, type(original).__name__)
        self._begin(())
        self._networks.find(tensors)

    def _begin(self, made: Sequence[InEngine]) -> None:
        self._places = list(_places(self.original))
        self._lock, self._changes = threading.Lock(), 0
        self._networks, self._weights = Networks(self._made, made), Weights(self._parts())
        self._pending = self._weights

    def _parts(self) -> list[object]:
        return [parts.get(name) for parts, name in self._places]

    @property
    def networks(self) -> tuple[InEngine, ...]:
        """The networks that there are, with their engines; one for each height and width."""
        return tuple(self._networks.made)

    def _made(self, tensors: Sequence[Tensor]) -> InEngine:
        """The network for inputs of these shapes, which gives what the module gives for them."""
        for tensor in (*self.original.parameters(), *self.original.buffers(), *tensors):
            _require_cpu(tensor)
        name = type(self.original).__name__
        arguments, keywords = self._called(tensors)
        expected = _inferred(self.original, arguments, keywords)
        self._returned, outputs = flatten(expected, lambda leaf: _returned(leaf, name))
        model = graph.from_module(self.original, keywords or arguments, name=name)
        return in_engine(model, tensors, outputs, self.options)

    def _called(self, tensors: Sequence[Tensor]) -> tuple[tuple[object, ...], dict[str, object]]:
        given: Any = self._form.fill(tensors)
        return given

    def forward(self, *arguments: object, **keywords: object) -> object:
        """What the module returns for these, without gradients.

        In training, and where an input requires gradients, the module itself runs.

        Raises:
            InputError: inputs that the module does not take, or that are not on the CPU.
        """
        if len(arguments) == 1 and isinstance(arguments[0], Tensor) and not keywords:
            form, tensors = CALL, [arguments[0]]
        else:
            form, tensors = flatten((arguments, keywords))
        eager = self._why_eager(tensors)
        if eager is not None:
            self._tell(eager)
            return self.original(*arguments, **keywords)
        if form is not self._form and form != self._form:
            raise InputError(
                f"called with {form}, and compiled for {self._form}: call it so, or compile the "
                "module again with such an example input"
            )
        return self._returned.fill(self._networks.find(tensors).run(tensors))

    def _why_eager(self, tensors: Sequence[Tensor]) -> str | None:
        """Why the module itself must run; None where its network may."""
        if self.training:
            return "it is in training mode; call .eval() for inference"
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            return "an input requires gradients; where none are needed, use torch.no_grad()"
        if self._weights.same(self._parts()):
            self._changes = 0
        elif not self._anew():
            return "its weights change between calls; it is compiled anew once they don't"
        return None

    def _anew(self) -> bool:
        """Begin with the weights as they are now, unless they changed at each of the last calls."""
        with self._lock:
            self._places = list(_places(self.original))  # its form may be another one
            parts = self._parts()
            if self._weights.same(parts):  # another thread was here
                return True
            settled, self._pending = self._pending.same(parts), Weights(parts)
            self._changes = 0 if settled else self._changes + 1
            if self._changes > _MOST_CHANGES:
                return False
            self._networks, self._weights = Networks(self._made), self._pending
            return True

    def _tell(self, reason: str) -> None:
        if reason not in self._told:
            self._told.add(reason)
            name = type(self.original).__name__
            warnings.warn(f"mlcnn: {name} runs eagerly: {reason}", stacklevel=5)

    def train(self, mode: bool = True) -> "Compiled":
        """Set the mode, of the module too; in training the module itself runs."""
        if mode != self.training:  # what training does to statistics need not be told to torch
            self._weights = Weights([torch.empty(0)])
        super().train(mode)
        return self

    def state_dict(self, *arguments: Any, **keywords: Any) -> dict[str, Any]:
        """The module's own; see ``torch.nn.Module``."""
        return self.original.state_dict(*arguments, **keywords)

    def load_state_dict(self, *arguments: Any, **keywords: Any) -> Any:
        """Load weights into the module; the network is made anew at the next call."""
        return self.original.load_state_dict(*arguments, **keywords)

    def to(self, *arguments: Any, **keywords: Any) -> "Compiled":
        """Stay on the CPU in float32; see ``torch.nn.Module``.

        Raises:
            InputError: another device or type.
        """
        for item in (*arguments, *keywords.values()):
            if not _stays(item):
                raise _moved(item)
        return self

    def _apply(self, fn: Any, recurse: bool = True) -> "Compiled":
        del fn, recurse
        raise _moved(None)

    def cuda(self, device: Any = None) -> "Compiled":
        """Refused: it runs on the CPU."""
        raise _moved("cuda" if device is None else device)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("__") or name == "original":
                raise
            return getattr(self.original, name)

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in vars(self).items() if name not in _LOST}
        current = self._weights.same(self._parts())
        networks = self._networks.made if current else []
        kept["_saved"] = [
            (graph.to_proto(one.model).SerializeToString(), one.engine, one.threads, one.declined)
            for one in networks
        ]
        return kept

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        saved = state["_saved"]
        vars(self).update({name: value for name, value in state.items() if name != "_saved"})
        self._begin(
            [
                InEngine.of(ir.serde.deserialize_model(onnx.ModelProto.FromString(text)), *told)
                for text, *told in saved
            ]
        )


def _inferred(
    module: nn.Module, arguments: tuple[object, ...], keywords: Mapping[str, object]
) -> object:
    """What a module gives in inference; nothing where it fails, which its export tells better."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        with torch.no_grad():
            return module.eval()(*arguments, **keywords)
    except Exception:  # noqa: BLE001 - a user's module may raise anything
        return None
    finally:
        for part, mode in modes:
            part.training = mode


def _places(module: nn.Module) -> Iterator[tuple[Mapping[str, object], str]]:
    """Where a module keeps its parts and tensors.

    Those that inference does not read as well: of the statistics of a batch norm, torch counts no
    changes, and ``num_batches_tracked`` tells of them.
    """
    for part in module.modules():
        kept = part._modules, part._parameters, part._buffers  # pyright: ignore[reportPrivateUsage]
        for parts in kept:
            yield from ((parts, name) for name, item in parts.items() if item is not None)


def _example(given: ExampleInput, name: str) -> tuple[Form, list[Tensor]]:
    """The form of a call, and the tensors in it."""

    def refused(leaf: object) -> InputError:
        return InputError(
            f"{name}: the example input must consist of tensors, got a {type(leaf).__name__}; give "
            "a tensor, a tuple of what the module is called with, or a dict of its arguments by "
            "name (None where an argument is left out)"
        )

    if isinstance(given, Mapping):
        call: object = ((), dict(given))
    else:
        call = (tuple(given) if isinstance(given, tuple | list) else (given,), {})
    form, tensors = flatten(call, refused)
    if not tensors:
        raise refused(given)
    return form, tensors


def _require_cpu(tensor: Tensor) -> None:
    if not tensor.is_cpu:
        raise InputError(
            f"mlcnn.compile is for the CPU, got a tensor on device {str(tensor.device)!r}: give "
            "module.cpu() and an example on the CPU, or use torch.compile(module) there"
        )


def _returned(leaf: object, name: str) -> InputError:
    return InputError(
        f"{name}: returns a {type(leaf).__name__} beside tensors, which a network cannot; return "
        'tensors alone, or use torch.compile(module, backend="mlcnn")'
    )


def _stays(asked: object) -> bool:
    """Whether an argument of ``to`` asks for nothing else than the CPU and float32."""
    if isinstance(asked, Tensor):
        return asked.is_cpu and asked.dtype is torch.float32
    if isinstance(asked, str | torch.device):
        return torch.device(asked).type == "cpu"
    if isinstance(asked, torch.dtype):
        return asked is torch.float32
    return isinstance(asked, bool | torch.memory_format) or asked is None


def _moved(to: object) -> InputError:
    where = "moved" if to is None else f"moved to {str(to).removeprefix('torch.')!r}"
    return InputError(
        f"what mlcnn.compile returned runs on the CPU in float32 and cannot be {where}: move the "
        "module that it was made from (`.original`), and use torch.compile(module) there"
    )
