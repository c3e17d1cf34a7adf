"""A teacher: another network's joints of the same people, which mend labels and fill them in.

The file is an .npz with `joints` [people, K, 2] (x, y in px of the image, 0-based), `scores`
[people, K] and `ids` [people]: the last number in an annotation's id. `names` [K] names the joints,
the first K of Leeds Sports Pose's where it is missing. `spread` [people, K], the distance between
two answers of the teacher as a share of the person's box, is optional. What is measured against a
teacher says nothing, so it is for training data alone.

The rule, in which distances are shares of the longer side of the person's box, and the teacher is
sure of joints with a score of 0.5 and a spread below 0.05:

1. If at least 0.8 of the labels lie within 0.1 of the teacher's joints once left and right are
   exchanged, and at most 0.4 as they are, and its mean score is 0.5, they are exchanged.
2. Where fewer than six labels can be compared with a sure joint, labels stay as they are, since the
   teacher is often wrong about such people. Otherwise:
3. If fewer than a quarter of the sure joints lie within 0.1 of their labels, it is not clear who is
   meant, and the person is left out. If fewer than half do, only what is sure stays.
4. A label that is farther than 0.1 from the sure joint is moved there, and a joint without a label
   gets the sure one. If the teacher is not sure, but has a score of 0.3 and is farther than 0.2
   away, nobody knows, and the label is dropped.
5. A person without labels gets the sure joints, if there are at least four.
"""

import dataclasses
import pathlib
import re
import zipfile
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from hourglass_jax.data.base import Annotation
from hourglass_jax.data.skeleton import LSP, Skeleton
from hourglass_jax.errors import UserError
from hourglass_jax.image import geometry

# Number of the rule, to be raised with every change of what it does.
RULE = 1
_SURE, _DOUBTFUL = 0.5, 0.3  # scores
_SPREAD = 0.05
_NEAR, _FAR = 0.1, 0.2  # shares of a box's side
_COMPARED, _ALONE = 6, 4  # fewest sure joints, beside labels and without
_SAME_PERSON, _TRUSTED = 0.25, 0.5  # shares of the sure joints that agree
_EXCHANGED, _AS_THEY_ARE = 0.8, 0.4  # shares of the labels that agree


@dataclasses.dataclass(frozen=True, eq=False)
class Joints:
    """The joints of one person.

    Attributes:
      places: x, y, px; of any value where there is no joint.
      known: whether there is a joint.
    """

    places: Float[np.ndarray, "joints 2"]
    known: Bool[np.ndarray, " joints"]


@dataclasses.dataclass(frozen=True, eq=False)
class Teacher:
    """The joints that a teacher finds, by the number of the annotation.

    Attributes:
      found: the teacher's joints, whatever their scores.
      scores: its scores.
      spread: distances between two answers, as shares of the person's box.
      names: names of the joints.
      rows: the row of each number.
    """

    found: Float[np.ndarray, "people joints 2"]
    scores: Float[np.ndarray, "people joints"]
    spread: Float[np.ndarray, "people joints"]
    names: Sequence[str]
    rows: dict[int, int]

    @classmethod
    def read(cls, path: pathlib.Path) -> "Teacher":
        """Reads a teacher's file.

        Raises:
          UserError: it is missing, or is not such a file.
        """
        try:
            with np.load(path) as file:
                arrays = {name: file[name] for name in file.files}
            found, scores = (np.asarray(arrays[n], np.float64) for n in ("joints", "scores"))
            ids = np.asarray(arrays["ids"]).astype(np.int64)
            spread = np.asarray(arrays.get("spread", np.zeros(scores.shape)), np.float64)
            names = tuple(map(str, arrays.get("names", LSP.joints[: scores.shape[-1]])))
        except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
            raise UserError(
                f"{path} cannot be read as a teacher's file ({error}); it must be an .npz with "
                f"joints, scores and ids"
            ) from None
        shape = (len(ids), len(names))
        if not scores.shape == spread.shape == shape or found.shape != (*shape, 2):
            raise UserError(
                f"{path}: joints has the shape {found.shape}, scores {scores.shape}, and there are "
                f"{len(ids)} ids and {len(names)} names of joints; they must be [people, joints, "
                f"2], [people, joints], [people] and [joints]"
            )
        return cls(found, scores, spread, names, {int(id): i for i, id in enumerate(ids)})

    def corrected(self, a: Annotation, skeleton: Skeleton, margin: float) -> Annotation:
        """Returns an annotation with mended joints; without joints, if it is left out.

        Where it has no box as annotated, its square is put around the mended joints.

        Args:
          a: annotation with the skeleton's joints, or with none.
          skeleton: the skeleton.
          margin: side of the square in sides of the joints' extent.
        """
        number = re.findall(r"\d+", a.id)
        row = self.rows.get(int(number[-1])) if number else None
        if row is None or a.crowd:
            return a
        mended = self._mended(a, skeleton, row, a.size / margin)
        if not mended.known.any():
            return dataclasses.replace(a, joints=None, labelled=None, visible=None)
        hidden = np.zeros_like(mended.known)
        if a.labelled is not None and a.visible is not None:
            hidden = a.labelled & ~a.visible
        center, size = a.center, a.size
        if a.box is None:
            center, size = geometry.box_around(mended.places, mended.known, margin)
        return dataclasses.replace(
            a,
            center=center,
            size=size,
            joints=mended.places,
            labelled=mended.known,
            visible=mended.known & ~hidden,
        )

    def _mended(self, a: Annotation, skeleton: Skeleton, row: int, side: float) -> Joints:
        """Returns the joints of a person whose box has this longer side, px."""
        own, scores, spread = self._answer(skeleton, row)
        sure = own.known & (scores >= _SURE) & (spread < _SPREAD)
        if a.joints is None or a.labelled is None or not a.labelled.any():
            return Joints(own.places, sure & (sure.sum() >= _ALONE))
        given = _exchanged_if_so(Joints(a.joints, a.labelled), own, scores, skeleton, side)
        compared = sure & given.known
        if compared.sum() < _COMPARED:
            return given
        distance = np.linalg.norm(given.places - own.places, axis=-1) / side
        near = compared & (distance <= _NEAR)
        agreement = near.sum() / compared.sum()
        if agreement < _SAME_PERSON:
            return Joints(given.places, np.zeros_like(sure))
        doubted = own.known & (scores >= _DOUBTFUL) & (distance > _FAR)
        kept = given.known & (near | (~sure & ~doubted & (agreement >= _TRUSTED)))
        moved = sure & ~near
        return Joints(np.where(moved[:, None], own.places, given.places), kept | moved)

    def _answer(
        self, skeleton: Skeleton, row: int
    ) -> tuple[Joints, Float[np.ndarray, " joints"], Float[np.ndarray, " joints"]]:
        """Returns a person's joints in the order of a skeleton, with their scores and spread."""
        columns = [i for i, name in enumerate(self.names) if name in skeleton.joints]
        order = [skeleton.index(self.names[i]) for i in columns]
        places, known = np.zeros((skeleton.num_joints, 2)), np.zeros(skeleton.num_joints, bool)
        scores, spread = np.zeros((2, skeleton.num_joints))
        places[order], known[order] = self.found[row, columns], True
        scores[order], spread[order] = self.scores[row, columns], self.spread[row, columns]
        return Joints(places, known), scores, spread


def _exchanged_if_so(
    given: Joints,
    own: Joints,
    scores: Float[np.ndarray, " joints"],
    skeleton: Skeleton,
    side: float,
) -> Joints:
    """Returns the labels with left and right exchanged, if they then agree with the teacher."""
    flip = skeleton.flip_order
    other = Joints(given.places[flip], given.known[flip])
    compared = own.known & given.known & other.known & (flip != np.arange(len(flip)))
    if not compared.any() or scores[own.known].mean() < _SURE:
        return given
    as_is, crossed = (
        (np.linalg.norm(one.places - own.places, axis=-1)[compared] <= _NEAR * side).mean()
        for one in (given, other)
    )
    return other if crossed >= _EXCHANGED and as_is <= _AS_THEY_ARE else given
