"""From feature maps to the vector that a dense layer takes."""

import math

from torch import Tensor, nn

from mlcnn.errors import InputError

__all__ = ["Flatten"]


class Flatten(nn.Module):
    """(N, C, H, W) to (N, features), of a size that is known beforehand.

    ``torch.flatten`` with a dynamic batch becomes five ONNX nodes that compute a shape; a reshape
    to constants becomes one. It would also accept images of another size, and make several rows
    of one image: that is refused here.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features

    def forward(self, x: Tensor) -> Tensor:
        """Rows of ``features`` values.

        Raises:
            InputError: if an image has another number of values.
        """
        given = math.prod(x.shape[1:])
        if given != self.features:
            msg = (
                f"{given} values per image reach the dense layer, which takes {self.features}: "
                "the images do not have the network's input size"
            )
            raise InputError(msg)
        return x.reshape(-1, self.features)
