"""What each form of a layer computes, operator by operator as it is emitted."""

from mlcnn.ops import Form, find_form, forms, methods
from mlcnn.workload import DENSE, Arithmetic, ConvLayer, Layer, Operations

__all__ = [
    "executed_multiplications",
    "executed_operations",
    "form_operations",
    "nonzero_multiplications",
]


def form_operations(layer: ConvLayer, form: str) -> Operations:
    """Multiplications and additions of a fused layer in the form that was chosen for it.

    This is what the form's operators compute, taken at their definitions: a mean over k*k'
    values takes k*k' - 1 additions at every position of its map, and a mean by a convolution or
    a matrix product multiplies. So it can exceed ``Reuse.SHARED``, what the arithmetic needs.

    The count is exact where every pool window is whole. Behind a pool with padding or partial
    windows it takes them as whole, as everywhere in ``mlcnn.counting``; the operators emitted
    there work in pieces, which overlap at their seams and have smaller windows.

    Args:
        layer: the layer; without a pool it counts as it is, whatever the form.
        form: the name of a form.

    Raises:
        ValueError: ``form`` is not known.
    """
    found = find_form(form)
    if found is None:
        msg = f"layer {layer.name}: no count for form {form!r}, only for {', '.join(forms())}"
        raise ValueError(msg)
    return found.operations(Layer(layer, form=form)) or layer.operations


def executed_operations(layer: Layer) -> Operations:
    """What a network executes for a layer: as its form counts, else as its operators stand there.

    Args:
        layer: as ``mlcnn.workload.read`` gives it.
    """
    form = find_form(layer.form) or _of_bits(layer)
    counted = None if form is None else form.operations(layer)
    if counted is not None:
        return counted
    return sum((part.operations for part in layer.parts), Operations())


def _of_bits(layer: Layer) -> Form | None:
    """The form that counts a layer which is an operator yet, and multiplies nothing.

    The standard operators of its body do.
    """
    method = methods().get(layer.weights.kind)
    if layer.arithmetic is not Arithmetic.COMPARE or method is None:
        return None
    return method.forms[0]


def executed_multiplications(layer: Layer) -> float:
    """The multiplications among them, as what a layer costs."""
    return float(executed_operations(layer).multiplications)


def nonzero_multiplications(layer: Layer) -> int:
    """Multiplications by weights that are not zero: what is left for an engine without the others.

    What the network's own operators execute is ``executed_operations``: they multiply by zeros.

    Args:
        layer: as ``mlcnn.workload.read`` gives it.
    """
    method = methods().get(layer.weights.kind)
    if method is not None and method.nonzero is not None:
        return method.nonzero(layer)
    executed = executed_operations(layer).multiplications
    return round(layer.density * executed) if layer.weights == DENSE else executed
