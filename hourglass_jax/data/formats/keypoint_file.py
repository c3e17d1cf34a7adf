"""The content of a file of keypoints or boxes, whichever format it has."""

import dataclasses
import logging
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from hourglass_jax.data.base import AnnotatedImage, Annotation
from hourglass_jax.data.formats.problems import Problems
from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.errors import UserError
from hourglass_jax.image import geometry

logger = logging.getLogger(__name__)

BOX_MARGIN = 1.25
# px, beyond any image; its square is still finite.
LARGEST = 1e6

Side = int | None
Box = tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True, eq=False)
class KeypointFile:
    """The content of a keypoint file.

    Attributes:
      name: path of the file, for messages.
      skeleton: skeleton of the category with keypoints.
      images: all images of the file, with their annotations of these categories.
      problems: entries that were not taken as they are; not yet logged.
      categories: names of the categories that were read, by id in the file.
      pairs_given: whether the file names the skeleton's pairs; else they come from the joints'
        names.
      sizes: width and height of the images as the file says them, by the image's id; None where it
        does not.
      files: files that the labels were read from, where they are not the file itself alone.
    """

    name: str
    skeleton: Skeleton
    images: list[AnnotatedImage]
    problems: Problems
    categories: Mapping[int | str | None, str] = dataclasses.field(default_factory=dict)
    pairs_given: bool = False
    sizes: Mapping[str, tuple[Side, Side]] = dataclasses.field(default_factory=dict)
    files: list[pathlib.Path] = dataclasses.field(default_factory=list)

    @property
    def count(self) -> int:
        """Number of annotations."""
        return sum(len(image.annotations) for image in self.images)


def square_around(box: Box) -> tuple[Float[np.ndarray, "2"], float]:
    """Returns center and size of the square around x, y, width, height, 1.25 times as large.

    COCO measures boxes from the image's corner, which lies half a pixel before pixel 0's centre.
    """
    x, y, width, height = box
    center = np.array([x + width / 2 - 0.5, y + height / 2 - 0.5])
    return center, max(width, height, 2.0) * BOX_MARGIN


def annotation(
    id: str,
    joints: Float[np.ndarray, "joints 2"],
    labelled: Bool[np.ndarray, " joints"],
    visible: Bool[np.ndarray, " joints"],
    box: Box | None = None,
    crowd: bool = False,
    area: float | None = None,
    category: int = 0,
    track: int | None = None,
) -> Annotation:
    """Returns an annotation with a square around `box`, else around the labelled joints.

    The reference is the square's side without the margin. Where there is neither a box nor a
    joint, the size is 0.
    """
    if box is not None:
        center, size = square_around(box)
    elif labelled.any():
        center, size = geometry.box_around(joints, labelled, BOX_MARGIN)
    else:
        center, size = np.zeros(2), 0.0
    return Annotation(
        id=id,
        center=center,
        size=size,
        box=box,
        category=category,
        joints=joints,
        labelled=labelled,
        visible=visible,
        crowd=crowd,
        area=area,
        reference=size / BOX_MARGIN,
        track=track,
    )


def with_joints(file: KeypointFile, joints: Sequence[str]) -> KeypointFile:
    """Returns the file with these joints, in this order; those that it lacks are not labelled."""
    if tuple(joints) == file.skeleton.joints:
        return file
    own = {joint: i for i, joint in enumerate(file.skeleton.joints)}
    kept = [own.get(joint, len(own)) for joint in joints]  # the last one is no joint
    pairs, limbs = (
        tuple(pair for pair in part if set(pair) <= set(joints))
        for part in (file.skeleton.pairs, file.skeleton.limbs)
    )

    def chosen(a: Annotation) -> Annotation:
        assert a.joints is not None and a.labelled is not None and a.visible is not None
        xy = np.concatenate([a.joints, np.zeros((1, 2))])[kept]
        labelled, visible = (np.append(flags, False)[kept] for flags in (a.labelled, a.visible))
        kept_too = (a.box, a.crowd, a.area, a.category, a.track)
        return annotation(a.id, xy, labelled, visible, *kept_too)

    return dataclasses.replace(
        file,
        skeleton=Skeleton(file.skeleton.name, tuple(joints), pairs, limbs),
        images=[
            dataclasses.replace(image, annotations=[chosen(a) for a in image.annotations])
            for image in file.images
        ],
    )


def with_categories(file: KeypointFile, names: Sequence[str]) -> KeypointFile:
    """Returns the file with its categories numbered as in `names`; others are left out."""
    own, annotated = list(file.categories.values()), []
    for image in file.images:
        kept = []
        for a in image.annotations:
            name = own[a.category]
            if name in names:
                kept.append(dataclasses.replace(a, category=names.index(name)))
            else:
                file.problems.add(f"left out: the category {name!r} is not learned", a.id)
        annotated.append(dataclasses.replace(image, annotations=kept))
    return dataclasses.replace(file, images=annotated)


def labelled_joints(file: KeypointFile) -> list[str]:
    """Returns the joints that at least one annotation labels."""
    seen = np.zeros(file.skeleton.num_joints, bool)
    for image in file.images:
        for a in image.annotations:
            if not a.crowd:
                seen |= a.labelled
    return [joint for joint, is_seen in zip(file.skeleton.joints, seen, strict=True) if is_seen]


def joined(files: Sequence[KeypointFile]) -> KeypointFile:
    """Returns several files as one; ids of all but the first begin with the file's number.

    A project's joints may have become more while it was labelled: those that a file lacks are not
    labelled in it.

    Raises:
      UserError: of two files, each has joints that the other lacks.
    """
    first = max(files, key=lambda file: file.skeleton.num_joints)
    if len(files) == 1:
        return first
    name = f"{files[0].name} and {len(files) - 1} more"
    images, sizes, problems = [], {}, Problems(name)
    for number, file in enumerate(files, start=1):
        lacking = [joint for joint in first.skeleton.joints if joint not in file.skeleton.joints]
        if not set(file.skeleton.joints) <= set(first.skeleton.joints):
            raise UserError(
                f"{file.name} has the joints {', '.join(file.skeleton.joints)}, and {first.name} "
                f"{', '.join(first.skeleton.joints)}; they must be the same"
            )
        if lacking:
            problems.add(f"it lacks {', '.join(lacking)}, which are not labelled there", file.name)
        prefix = "" if number == 1 else f"{number}-"
        for image in with_joints(file, first.skeleton.joints).images:
            annotations = [dataclasses.replace(a, id=f"{prefix}{a.id}") for a in image.annotations]
            id = f"{prefix}{image.id}"
            images.append(dataclasses.replace(image, id=id, annotations=annotations))
            if image.id in file.sizes:
                sizes[id] = file.sizes[image.id]
        problems.absorb(file.problems)
    return dataclasses.replace(
        first,
        name=name,
        images=images,
        problems=problems,
        sizes=sizes,
        files=[path for file in files for path in file.files],
        categories={i: name for file in files for i, name in file.categories.items()},
        pairs_given=all(file.pairs_given for file in files),
    )
