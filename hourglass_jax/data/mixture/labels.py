"""Labels of several data sets as those of one: joints and categories are joined by name."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from hourglass_jax.data.base import NO_JOINTS, AnnotatedImage, Annotation, Source
from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.data.teacher import Teacher

# Category of data sets of poses, which do not name theirs.
PERSON = "person"
# How far a body reaches beyond its joints, in longer sides of the box around them: the mean of
# drawn people.
_FLESH = 0.05


@dataclasses.dataclass(frozen=True)
class Labels:
    """The joints and categories of all parts, in the order in which they first occur."""

    skeleton: Skeleton
    categories: tuple[str, ...]

    @classmethod
    def of(cls, sources: Sequence[Source]) -> "Labels":
        names = [name for source in sources for name in _categories(source)]
        skeletons = list(dict.fromkeys(s.labels for s in sources if s.labels.joints))
        return cls(_joined(skeletons), tuple(dict.fromkeys(names)))

    def translated(
        self, image: AnnotatedImage, source: Source, teacher: Teacher | None = None
    ) -> AnnotatedImage:
        """Returns a part's image with these labels, which a teacher has mended if there is one.

        Where the part has no boxes as annotated, a person's box lies around the joints, and there
        may be people without one. Annotations without a labelled joint have no joints.
        """
        order = [self.skeleton.joints.index(joint) for joint in source.labels.joints]
        places = [self.categories.index(name) for name in _categories(source)]
        annotations = []
        for a in image.annotations:
            a = dataclasses.replace(
                a, category=places[a.category], key=None, **self._joints(a, order)
            )
            if teacher is not None:
                a = teacher.corrected(a, self.skeleton, source.box_margin)
            box = a.box if source.categories else a.box or _around(a)
            annotations.append(dataclasses.replace(a, box=box))
        exhaustive = image.exhaustive and bool(source.categories)
        return dataclasses.replace(image, annotations=annotations, exhaustive=exhaustive)

    def _joints(self, a: Annotation, order: Sequence[int]) -> dict[str, np.ndarray | None]:
        if a.joints is None or a.labelled is None or not a.labelled.any():
            return {"joints": None, "labelled": None, "visible": None}
        joints = np.zeros((self.skeleton.num_joints, 2))
        labelled, visible = np.zeros((2, self.skeleton.num_joints), bool)
        joints[order], labelled[order] = a.joints, a.labelled
        visible[order] = a.labelled if a.visible is None else a.visible
        return {"joints": joints, "labelled": labelled, "visible": visible}


def _categories(source: Source) -> Sequence[str]:
    return source.categories or (PERSON,)


def _joined(skeletons: Sequence[Skeleton]) -> Skeleton:
    """Returns a skeleton with the joints, pairs and limbs of all."""
    if len(skeletons) < 2:
        return skeletons[0] if skeletons else NO_JOINTS
    pairs = {frozenset(pair): pair for skeleton in reversed(skeletons) for pair in skeleton.pairs}
    return Skeleton(
        name=" and ".join(skeleton.name for skeleton in skeletons),
        joints=tuple(dict.fromkeys(joint for s in skeletons for joint in s.joints)),
        pairs=tuple(pairs.values()),
        limbs=tuple(dict.fromkeys(limb for s in skeletons for limb in s.limbs)),
    )


def _around(a: Annotation) -> tuple[float, float, float, float] | None:
    """Returns the box (x, y, width, height) of a body by its joints, if some are labelled."""
    if a.joints is None or a.labelled is None or not a.labelled.any():
        return None
    joints = np.asarray(a.joints, float)[a.labelled] + 0.5  # from the image's corner
    low, high = joints.min(0), joints.max(0)
    beyond = _FLESH * max((high - low).max(), 2.0)
    x, y = (low - beyond).tolist()
    width, height = (high - low + 2 * beyond).tolist()
    return x, y, width, height
