"""Where the image of an entry is: a file, or a part of one, such as a frame of a video."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import UInt8

from hourglass_jax.data import images
from hourglass_jax.data.base import AnnotatedImage, Annotation
from hourglass_jax.errors import UserError

Image = UInt8[np.ndarray, "height width 3"]


@dataclasses.dataclass(frozen=True)
class Place:
    """The place of an image.

    Attributes:
      path: path of the file.
      inside: name of the image in the file; "" if the file is the image.
      read: function that decodes an image inside a file to RGB; None for a file. Raises UserError.
    """

    path: pathlib.Path
    inside: str = ""
    read: Callable[[], Image] | None = dataclasses.field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.path}#{self.inside}" if self.inside else str(self.path)

    def image(
        self,
        annotations: Sequence[Annotation],
        *,
        id: str,
        size: tuple[int, int] | None = None,
        exhaustive: bool = True,
    ) -> AnnotatedImage:
        """Returns the annotated image; arguments as in `images.image_file`."""
        if self.read is None:
            return images.image_file(
                self.path, annotations, id=id, size=size, exhaustive=exhaustive
            )
        return AnnotatedImage(
            id=id,
            name=str(self),
            read=functools.partial(_of_size, self.read, str(self), size),
            annotations=annotations,
            size=size,
            exhaustive=exhaustive,
            container=str(self.path),
        )


def _of_size(read: Callable[[], Image], name: str, size: tuple[int, int] | None) -> Image:
    image = read()
    height, width = image.shape[:2]
    if size is not None and size != (width, height):
        raise UserError(
            f"{name} is {width} x {height} px, and the annotations say {size[0]} x {size[1]}"
        )
    return image
