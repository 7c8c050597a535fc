"""Networks from ``.pt2`` files."""

from pathlib import Path

import onnx_ir as ir
import torch

from mlcnn.errors import InputError
from mlcnn.graph.archive import safe_archive
from mlcnn.graph.torch_export import exclusive, from_program
from mlcnn.graph.wording import quote

__all__ = ["load_program"]


def load_program(path: str | Path) -> ir.Model:
    """A network from a ``.pt2`` file of ``torch.export.save``.

    Loading it cannot run code from the file.

    Args:
        path: the file.

    Returns:
        The network, normalised; a dimension that the program keeps dynamic stays so.

    Raises:
        InputError: the file is missing, no exported program, or holds more than data.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a directory; give the .pt2 file in it")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with exclusive():
        archive = safe_archive(path)
        try:
            program = torch.export.load(archive)
        except Exception as error:  # the loader passes on whatever it meets
            raise InputError(
                f"{path}: torch {torch.__version__} cannot load it: {quote(error)}; export the "
                "network again with this version of torch"
            ) from error
    return from_program(program, name=str(path))
