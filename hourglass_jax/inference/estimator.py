"""A trained network behind one call: pictures and boxes in, poses out."""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from PIL import Image

from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.errors import UserError
from hourglass_jax.image import crop as cutout
from hourglass_jax.image import geometry
from hourglass_jax.image import io as photo
from hourglass_jax.nn.stacked_hourglass import Normalisation, StackedHourglass, forward
from hourglass_jax.runtime import sharding
from hourglass_jax.tasks.single_pose import heatmap

# Of a person's crop, in sides of the box around the person: what the networks are trained with.
BOX_MARGIN = 1.25


@dataclasses.dataclass(frozen=True, eq=False)
class Poses:
    """The poses of a picture's people, in its pixels.

    Attributes:
      joints: [P, K, 2], x and y, 0-based, a pixel's index being its centre.
      scores: [P, K], the heatmaps' peaks: about 1 where the network is sure, 0 where it sees none.
      names: of the joints.
      boxes: [P, 4], x, y, width and height: where people were looked for.
      heatmaps: [P, h, w, K] of the crops, where they were asked for.
    """

    joints: Float[np.ndarray, "people joints 2"]
    scores: Float[np.ndarray, "people joints"]
    names: tuple[str, ...]
    boxes: Float[np.ndarray, "people 4"]
    heatmaps: Float[np.ndarray, "people h w joints"] | None = None


class PoseEstimator:
    """Finds the joints of the people in a picture, each given by a box.

    `estimator(image, boxes=None)` returns `Poses`. Every batch is padded to one of two sizes, so
    that the network is compiled at most twice.

    Attributes:
      skeleton: the joints that it finds.
    """

    def __init__(
        self,
        model: StackedHourglass,
        variables: dict[str, Any],
        skeleton: Skeleton,
        *,
        input_size: int = 256,
        normalisation: Normalisation = Normalisation(),
        flip_test: bool = True,
        decode: str = "quarter",
        scales: Sequence[float] = (1.0,),
        num_stacks: int | None = None,
        batch_size: int = 8,
    ):
        """Makes an estimator of a network's variables.

        Args:
          model: the network.
          variables: {"params", "batch_stats"}.
          skeleton: of its heatmaps.
          input_size: the side of the crops that it was trained on, px.
          normalisation: that it was trained with.
          flip_test: average the heatmaps with those of the mirrored picture.
          decode: how joints are read off heatmaps, "quarter" or "refined"; see `heatmap.decode`.
          scales: of the person in the crop; the heatmaps are averaged over them.
          num_stacks: take the prediction after so many stacks, which is faster; None: after all.
          batch_size: people at a time.

        Raises:
          UserError: an option has an impossible value.
        """
        stacks = model.num_stacks if num_stacks is None else num_stacks
        if not 1 <= stacks <= model.num_stacks:
            raise UserError(
                f"num_stacks={num_stacks}: this network has {model.num_stacks}; take 1 to "
                f"{model.num_stacks}"
            )
        if decode not in heatmap.DECODERS:
            raise UserError(f"decode={decode!r} is none of {', '.join(heatmap.DECODERS)}")
        if not scales or not all(0 < s < math.inf for s in scales):
            raise UserError(f"scales={scales!r} must be numbers above 0, such as (0.8, 1.0, 1.2)")
        if batch_size < 1:
            raise UserError(f"batch_size={batch_size} must be at least 1")
        if model.num_joints != skeleton.num_joints:
            raise UserError(
                f"the network has {model.num_joints} joints, and skeleton {skeleton.name!r} has "
                f"{skeleton.num_joints}"
            )
        self.skeleton = skeleton
        self._side, self._scales, self._batch_size = input_size, tuple(scales), batch_size
        self._variables = jax.device_put(variables)
        model = model.clone(num_stacks=stacks)

        def heatmaps_of(variables, pictures):
            def last(pictures):
                return forward(model, variables, pictures)[:, -1]

            if not flip_test:
                return last(pictures)
            return heatmap.flip_tested(last, pictures, skeleton.flip_order)

        options = sharding.compiler_options(jax.devices()[0])

        @functools.partial(jax.jit, compiler_options=options)
        def predict(variables, crops: UInt8[Array, "scales batch side side 3"]):
            found = [
                _to_scale_one(heatmaps_of(variables, normalisation(crops[i])), scale)
                for i, scale in enumerate(self._scales)
            ]
            mean = sum(found) / len(found)
            return *heatmap.decode(mean, decode), mean

        self._predict = predict

    @classmethod
    def from_checkpoint(cls, path: str | pathlib.Path, **options) -> "PoseEstimator":
        """Makes an estimator of a checkpoint alone.

        Args:
          path: a workdir (its best step), one step's folder, or the name of a network that comes
            with the package, as "lsp-small".
          **options: those of `PoseEstimator` that are no part of a checkpoint: `flip_test`,
            `decode`, `scales`, `num_stacks`, `batch_size`.

        Raises:
          UserError: there is no checkpoint, it cannot be read, or an option is impossible.
        """
        from hourglass_jax.checkpoint import store as checkpoint

        trained = checkpoint.load(path)
        return cls(
            trained.model,
            trained.variables,
            trained.skeleton,
            input_size=trained.input_size,
            normalisation=trained.normalisation,
            **options,
        )

    def __call__(
        self,
        image: "str | pathlib.Path | Image.Image | np.ndarray",
        boxes: Float[np.ndarray, "people 4"] | Sequence | None = None,
        *,
        heatmaps: bool = False,
    ) -> Poses:
        """Finds the poses of a picture's people.

        Args:
          image: a file, a Pillow image, or an array [H, W], [H, W, 3] or [H, W, 4].
          boxes: one (x, y, width, height) or several around people, px of the picture; None: the
            picture shows one person, whole.
          heatmaps: return these as well.

        Raises:
          UserError: the picture cannot be read, or a box is none.
        """
        picture = photo.as_rgb(image)
        boxes = check_boxes(boxes, picture.shape)
        return self.estimate([(picture, box) for box in boxes], heatmaps=heatmaps)

    def estimate(
        self, people: Sequence[tuple[UInt8[np.ndarray, "height width 3"], np.ndarray]],
        *, heatmaps: bool = False,
    ) -> Poses:  # fmt: skip
        """Finds one pose for each (picture, box); pictures may differ, as the frames of a video."""
        joints, scores, maps = [], [], []
        for start in range(0, len(people), self._batch_size):
            some = people[start : start + self._batch_size]
            cut = [self._crops(picture, np.asarray(box, float)) for picture, box in some]
            size = 1 if len(people) == 1 else self._batch_size
            crops = np.zeros((len(self._scales), size, self._side, self._side, 3), np.uint8)
            for i, (views, _) in enumerate(cut):
                crops[:, i] = views
            found = jax.device_get(self._predict(self._variables, crops))
            stride = self._side / found[2].shape[1]
            joints_crop = geometry.heatmap_to_crop(found[0].astype(np.float64), stride)
            joints += [
                geometry.apply(to_picture, joints_crop[i]) for i, (_, to_picture) in enumerate(cut)
            ]
            scores += list(found[1][: len(some)])
            maps += list(found[2][: len(some)]) if heatmaps else []
        count = self.skeleton.num_joints
        return Poses(
            joints=np.array(joints).reshape(-1, count, 2),
            scores=np.array(scores, np.float32).reshape(-1, count),
            names=self.skeleton.joints,
            boxes=np.array([box for _, box in people], float).reshape(-1, 4),
            heatmaps=np.array(maps) if heatmaps else None,
        )

    def _crops(self, picture, box) -> tuple[list[np.ndarray], geometry.Affine]:
        """A person's crop at every scale, and the map from that of scale 1 to the picture."""
        center, size = square_around(box)
        views = []
        for scale in self._scales:
            small, to_picture = cutout.cut_out(
                picture, center, size / scale, surroundings=1.1, resolution=self._side
            )
            to_crop = geometry.crop_map(center, size, self._side, scale=scale)
            from_small = geometry.compose(to_crop, to_picture)
            shape = (self._side, self._side)
            views.append(cv2.warpAffine(small, from_small, shape, flags=cv2.INTER_LINEAR))
        return views, geometry.invert(geometry.crop_map(center, size, self._side))


def square_around(box: Float[np.ndarray, "4"]) -> tuple[Float[np.ndarray, "2"], float]:
    """Returns center and size of the crop for a box."""
    # A box from 10, 10 px wide, covers the pixels 10 to 19, whose middle is at 14.5.
    return box[:2] + (box[2:] - 1) / 2, max(float(box[2:].max()) * BOX_MARGIN, 2.0)


def check_boxes(boxes, shape: tuple[int, ...]) -> Float[np.ndarray, "people 4"]:
    """Returns boxes as an array, for None one whose crop is the picture; raises UserError."""
    height, width = shape[:2]
    if boxes is None:  # the crop shows the picture and no more: a person seldom reaches its borders
        sides = np.array([width, height])
        return np.concatenate([sides * (1 - 1 / BOX_MARGIN) / 2, sides / BOX_MARGIN])[None]
    try:
        found = np.atleast_2d(np.asarray(boxes, float)) if np.size(boxes) else np.zeros((0, 4))
    except (TypeError, ValueError):
        found = None
    if found is None or found.ndim != 2 or found.shape[1] != 4:
        raise UserError(f"each box must be (x, y, width, height), and not {boxes!r}")
    for box in found:
        if not np.isfinite(box).all() or box[2:].min() <= 0 or np.abs(box).max() > 1e6:
            raise UserError(
                f"the box {box.tolist()} is none; it must be x, y, width, height in px, the last "
                f"two above 0"
            )
    return found


def _to_scale_one(heatmaps: Float[Array, "batch h w joints"], scale: float):
    """Shrinks heatmaps of people shown `scale` times as large about the middle."""
    if scale == 1.0:
        return heatmaps
    sides = jnp.array(heatmaps.shape[1:3])
    return jax.image.scale_and_translate(
        heatmaps,
        heatmaps.shape,
        (1, 2),
        jnp.full(2, 1 / scale),
        sides / 2 * (1 - 1 / scale),
        "linear",
        antialias=False,
    )
