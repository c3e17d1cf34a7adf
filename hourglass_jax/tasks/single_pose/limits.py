"""How much around a person records keep, and which augmentation that allows."""

import dataclasses
import math

from hourglass_jax.errors import UserError

# Of the square that a record may show: 0.42 bytes a pixel, and borders cut off two thirds.
_BYTES_PER_PIXEL = 0.14


@dataclasses.dataclass(frozen=True)
class Limits:
    """The augmentation that records leave room for, and the resolution that they keep.

    Attributes:
      min_scale: the smallest scale of a person in the crop, 1 being the box as it is.
      translate: the largest shift, as a share of the crop's side. Rotation may take any angle.
      resolution: px that the side of a person's box has at most; larger people are reduced.
    """

    min_scale: float = 0.7
    translate: float = 0.1
    resolution: int = 256

    @property
    def surroundings(self) -> float:
        """The side of the square kept around a person, in sides of the person's box."""
        return math.sqrt(2) * (1 + 2 * self.translate) / self.min_scale

    @property
    def record_bytes(self) -> float:
        """What a record takes on the disk, about."""
        return _BYTES_PER_PIXEL * (self.resolution * self.surroundings) ** 2

    def check(self, augment, input_size: int) -> None:
        """Raises UserError where a config asks for more than the records hold.

        Args:
          augment: the config's section, with `scale` and `translate`.
          input_size: of the network, px.
        """
        if 1 - augment.scale < self.min_scale:
            raise UserError(
                f"augment.scale={augment.scale} shows people at {1 - augment.scale:.2f} of their "
                f"size, and records have room for {self.min_scale}; take at most "
                f"{1 - self.min_scale:.2f}"
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
