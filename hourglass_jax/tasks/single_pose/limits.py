"""Limits of the augmentation, which determine how much records keep around a person."""

import dataclasses
import math

from hourglass_jax.errors import UserError
from hourglass_jax.rules import Number, Whole, field

# JPEG takes 0.42 bytes per pixel, and image borders cut off two thirds of the square.
_BYTES_PER_PIXEL = 0.14


@dataclasses.dataclass(frozen=True)
class Limits:
    """The strongest augmentation that records allow, and their resolution.

    Attributes:
      min_scale: smallest scale of a person in the crop; 1 fits the box to the crop.
      translate: largest shift, as a fraction of the crop's side. Rotation may take any angle.
      resolution: largest side of a person's box, px; larger people are scaled down.
    """

    min_scale: float = field(Number(0, 1, above=True), default=0.7)
    translate: float = field(Number(0, 1), default=0.1)
    resolution: int = field(Whole(1, 2**14), default=256)

    @property
    def surroundings(self) -> float:
        """Side of the square kept around a person, as a multiple of the box's side."""
        return math.sqrt(2) * (1 + 2 * self.translate) / self.min_scale

    @property
    def record_bytes(self) -> float:
        """Approximate size of a record on the disk."""
        return _BYTES_PER_PIXEL * (self.resolution * self.surroundings) ** 2

    def check(self, augment, input_size: int) -> None:
        """Raises UserError if a config needs more than the records hold.

        Args:
          augment: config section `augment`, with `scale` and `translate`.
          input_size: side of the network's input, px.
        """
        if 1 - augment.scale < self.min_scale:
            raise UserError(
                f"augment.scale={augment.scale} shows people at {1 - augment.scale:.2f} of their "
                f"size, and records have room for {self.min_scale}; take at most "
                f"{1 - self.min_scale:.2f}"
            )
        if augment.aspect:
            raise UserError(
                f"augment.aspect={augment.aspect} is for whole images, and the crop of a person "
                f"keeps its shape; set augment.aspect=0"
            )
        if augment.translate > self.translate:
            raise UserError(
                f"augment.translate={augment.translate} is more than the {self.translate} that "
                f"records have room for"
            )
        if input_size > self.resolution:
            raise UserError(
                f"model.input_size={input_size} is more than the {self.resolution} px that records "
                f"keep of a person; set data.resolution={input_size} to build larger ones"
            )
