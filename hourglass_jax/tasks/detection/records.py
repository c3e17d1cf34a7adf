"""Records of whole images: the image, and all boxes in it."""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from hourglass_jax.data.base import AnnotatedImage, Annotation
from hourglass_jax.errors import UserError
from hourglass_jax.image import crop, geometry
from hourglass_jax.image.geometry import Affine
from hourglass_jax.tasks.base import Draws, Record, Spec
from hourglass_jax.tasks.instance import Instance

if TYPE_CHECKING:
    from hourglass_jax.config import Config

# JPEG takes 0.42 bytes per pixel, and images are 4 to 3.
_BYTES_PER_PIXEL = 0.42 * 3 / 4
# CornerNet's windows; a smaller one would show little more than one object.
_LARGEST_SCALE = 0.9


def schema(joints: int) -> dict[str, Spec]:
    """Returns the fields of a record; boxes are x, y, width, height in px of the source image."""
    fields = {
        "size_source": Spec((2,), np.int32),  # width and height
        "exhaustive": Spec((), np.bool_),
        "boxes_source": Spec((None, 4), np.float32),
        "categories": Spec((None,), np.int32),
        "crowd": Spec((None,), np.bool_),
        "areas": Spec((None,), np.float32),  # as annotated; NaN where they are not
    }
    if joints:
        fields["joints_source"] = Spec((None, joints, 2), np.float32)
        fields["labelled"] = Spec((None, joints), np.bool_)
    return fields


def record_bytes(resolution: int) -> float:
    """Returns the size of a record, roughly."""
    return _BYTES_PER_PIXEL * resolution**2


def make(
    image: AnnotatedImage, *, categories: int, joints: int, max_objects: int | None, resolution: int
) -> Record:
    """Makes the record of an image.

    Args:
      image: image with annotations.
      categories: number of categories.
      joints: number of joints; 0 leaves them out.
      max_objects: largest number of boxes; None means any.
      resolution: longer side of the record, px; larger images are reduced.

    Raises:
      UserError: a box cannot be used, or there are too many.
    """
    pixels = image.read()
    height, width = pixels.shape[:2]
    annotations = image.annotations
    if max_objects is not None and len(annotations) > max_objects:
        raise UserError(
            f"{image.name} has {len(annotations)} boxes, more than "
            f"config.detection.max_objects={max_objects}; increase that number"
        )
    boxes = [_box(annotation, width, height, categories) for annotation in annotations]
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    small, record_to_source = crop.cut_out(
        pixels, middle, max(width, height), surroundings=1.0, resolution=resolution
    )
    record: dict[str, Any] = {
        "image": small,
        "id": image.id,
        "record_to_source": record_to_source.astype(np.float32),
        "size_source": np.array([width, height], np.int32),
        "exhaustive": np.bool_(image.exhaustive),
        "boxes_source": np.array(boxes, np.float32).reshape(-1, 4),
        "categories": np.array([a.category for a in annotations], np.int32),
        "crowd": np.array([a.crowd for a in annotations], bool),
        "areas": np.array([np.nan if a.area is None else a.area for a in annotations], np.float32),
    }
    if joints:
        nothing = np.zeros((joints, 2)), np.zeros(joints, bool)
        pairs = [nothing if a.joints is None else (a.joints, a.labelled) for a in annotations]
        places = np.array([place for place, _ in pairs], np.float32).reshape(-1, joints, 2)
        record["labelled"] = np.array([there for _, there in pairs], bool).reshape(-1, joints)
        record["joints_source"] = np.where(record["labelled"][..., None], places, 0)
    return record


def _box(annotation: Annotation, width: int, height: int, categories: int):
    """Returns an annotation's box; raises UserError if it cannot be used."""
    if annotation.box is None:
        raise UserError(f"{annotation.id} has no box; give it one, or leave it out")
    x, y, box_width, box_height = annotation.box
    inside = x < width and y < height and x + box_width > 0 and y + box_height > 0
    if not np.isfinite(annotation.box).all() or min(box_width, box_height) < 0 or not inside:
        raise UserError(
            f"{annotation.id} has the box {list(annotation.box)} (x, y, width, height), which lies "
            f"outside its image of {width} x {height} px; correct it, or leave it out"
        )
    if not 0 <= annotation.category < categories:
        raise UserError(
            f"{annotation.id} has the category {annotation.category}, and the data set has "
            f"{categories} categories, counted from 0; correct it, or leave it out"
        )
    return annotation.box


def check(config: "Config") -> None:
    """Raises UserError if records or their views cannot be as a config asks."""
    if config.augment.scale > _LARGEST_SCALE:
        raise UserError(
            f"augment.scale={config.augment.scale} must be at most {_LARGEST_SCALE}, as images "
            f"are magnified up to 1 / (1 - scale) times"
        )
    if config.augment.half_body:
        raise UserError(
            f"augment.half_body={config.augment.half_body} is for crops of one person, and records "
            f"are whole images; set augment.half_body=0"
        )
    side, resolution = config.model.input_size, config.data.resolution
    if side > resolution:
        raise UserError(
            f"model.input_size={side} is more than the {resolution} px that records keep of an "
            f"image; set data.resolution={side} to build larger ones"
        )


def size_of(record: Record) -> Float[np.ndarray, "2"]:
    """Returns width and height of the record's image, px."""
    return np.round(record["size_source"] / np.diag(record["record_to_source"][:, :2]))


def view(record: Record, draws: Draws | None, side: int) -> Affine:
    """Returns the map from a record to a square input.

    Evaluation shows the whole image, centred between black bars. Training shows a square window
    around a random point, rotated about it: its side is uniform in 1 -+ `augment.scale` longer
    sides of the image, and the point lies at most `augment.translate` sides from the middle,
    horizontally and vertically. With 0.4 and 0.3, these are nearly CenterNet's windows (and
    CornerNet's, of images that are as large as the input). At last, `augment.aspect` stretches one
    direction and shrinks the other.
    """
    size = size_of(record)
    middle, long = (size - 1) / 2, float(size.max())
    if draws is None:
        return geometry.crop_map(middle, long, side)
    middle = middle - np.asarray(draws.translate) * size
    # A window is the smaller the larger its content is to be.
    window = long * (2 - draws.scale)
    to_input = geometry.crop_map(middle, window, side, rotation=draws.rotation, flip=draws.flip)
    return geometry.stretched(to_input, draws.aspect, side)


def places(record: Record, to_frame: Affine) -> Affine:
    """Returns the map from the source image to the frame that `to_frame` maps the record to."""
    to_record = geometry.invert(record["record_to_source"].astype(np.float64))
    return geometry.compose(to_frame, to_record)


def truth(record: Record) -> list[Instance]:
    """Returns a record's objects without its crowds, px of the source image."""
    sizes, categories = record["boxes_source"].astype(np.float64), record["categories"].tolist()
    rows = np.flatnonzero(~record["crowd"]).tolist()
    if "labelled" not in record:
        return [Instance(1.0, sizes[i], categories[i]) for i in rows]
    joints, labelled = record["joints_source"], record["labelled"].astype(np.float32)
    return [Instance(1.0, sizes[i], categories[i], joints[i], labelled[i]) for i in rows]
