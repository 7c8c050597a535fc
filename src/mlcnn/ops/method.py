"""What a method is: one declaration that counting, passes, training and machines read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.ops.emitter import Emitter
from mlcnn.ops.geometry import Convolution, Pooling
from mlcnn.ops.trained import TrainedLayer
from mlcnn.workload import ConvLayer, Layer, Operations, Record

__all__ = ["ChannelAxes", "Form", "Method"]

OperatorId = tuple[str, str]
"""(domain, operator)."""


Restore = Callable[[Emitter, Record, ir.Value, Sequence[ir.Node]], ir.Value | None]
Monotone = Callable[[Emitter, ir.Node, NDArray[np.float64]], Sequence[ir.Value | None] | None]


@runtime_checkable
class Form(Protocol):
    """One exact way to compute a layer of a method.

    Attributes:
        name: how the user names it.
        rank: its place among the forms of a layer whose sizes are dynamic, the least first, where
            nothing can be estimated; None if it is not chosen then.
    """

    name: ClassVar[str]
    rank: ClassVar[int | None]

    def refuses(self, convolution: Convolution, pooling: Pooling | None) -> str | None:
        """Why this form cannot compute the layer; None if it can.

        Args:
            convolution: the layer.
            pooling: the average pool behind it that is fused with it, if there is one.
        """
        ...

    def emit(self, emitter: Emitter, convolution: Convolution, pooling: Pooling | None) -> ir.Value:
        """Build the form's nodes; return their output, shape (N, K, height, width)."""
        ...

    def operations(self, layer: Layer) -> Operations | None:
        """What the emitted nodes compute for the batch; None to count them as they stand."""
        ...

    def estimate(self, layer: ConvLayer) -> float:
        """Estimated cost of one image, in multiply-accumulates."""
        ...


@dataclass(frozen=True, slots=True)
class ChannelAxes:
    """Where the channels of an operator without groups stand, so that some can go.

    Attributes:
        dense: the weight that it stands for, shape (outputs, inputs, taps), of a node.
        inner: what mixes ``shared`` ones, shape (outputs, inputs, shared), of a node.
        outputs: (input of the node, axis) of each constant that has the output channels.
        inputs: of each that has the input channels.
        shared: of each that has what all of them share; the last one belongs to nothing else.
        bias: input of the node; it may be missing.
        settle: writes attributes and record anew, once constants of a node have changed.
    """

    dense: Callable[[ir.Node], NDArray[np.float64]]
    inner: Callable[[ir.Node], NDArray[np.float64]]
    outputs: tuple[tuple[int, int], ...]
    inputs: tuple[tuple[int, int], ...]
    shared: tuple[tuple[int, int], ...]
    bias: int
    settle: Callable[[ir.Node], None]


@dataclass(frozen=True, slots=True)
class Method:
    """One way to make layers cheaper.

    Attributes:
        name: how the user names it.
        forms: the ways to compute a layer of it, the plainest first.
        operators: its own operators (domain, name), if a pass writes such: they compute a layer
            whose weights have a structure.
        read: reads a node of such an operator as a convolution, or says why it cannot.
        layer: the trainable module of such an operator: takes the node's ``mlcnn.nn.site.Site``,
            returns its ``TrainedLayer``; None where its body is trained, operator by
            operator.
        restore: writes a layer as its operator again, where other operators compute it: takes an
            ``Emitter``, the layer's record, what the layer reads, and its nodes; None where it
            cannot be told from them.
        row_input: which input of its operators has a row for each output channel, which a factor of
            the output can be multiplied into; the bias is the next one. None where a factor would
            destroy the structure.
        monotone: what becomes of an operator's inputs behind the images where each channel of these
            is not multiplied by its factor any more, nor shifted; None where that changes what a
            layer computes.
        coded: which input of its operators can be codes; the bias is the next one. None where the
            numbers are no weights that stand by themselves.
        nonzero: multiplications of a layer by an engine that leaves out zero weights; None where
            there is none.
        channels: where the channels of its operators stand; None where they cannot go.
        computed: which share of a layer a form computes, image by image: takes the form's name and
            masks, shape (images, 1, P, Q), or (images, channels); None where no layer of it has a
            mask.
        plain: the form that computes a layer as a dense one, as fast as it was without the
            structure; empty where that is the operator's body, or there is none.
        penalty: what is added to a loss to bring weights into the structure: takes that module,
            returns a scalar tensor.
        summary: what it does, in a line.
    """

    name: str
    forms: tuple[Form, ...] = ()
    operators: tuple[OperatorId, ...] = ()
    read: Callable[[ir.Node], Convolution | str] | None = None
    layer: Callable[[Any], TrainedLayer] | None = None
    restore: Restore | None = None
    row_input: int | None = None
    monotone: Monotone | None = None
    coded: int | None = None
    nonzero: Callable[[Layer], int] | None = None
    channels: ChannelAxes | None = None
    computed: Callable[[str, NDArray[np.bool_]], NDArray[np.float64]] | None = None
    plain: str = ""
    penalty: Callable[[Any], Any] | None = None
    summary: str = ""

    def form(self, name: str) -> Form | None:
        """The form of this name, if there is one."""
        return next((form for form in self.forms if form.name == name), None)

    def taking(self, convolution: Convolution, pooling: Pooling | None) -> Sequence[Form]:
        """The forms that can compute a layer."""
        return [form for form in self.forms if form.refuses(convolution, pooling) is None]
