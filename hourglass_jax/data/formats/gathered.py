"""What readers of other tools' labels gather: a content in COCO's form, and its images."""

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hourglass_jax.data.formats.coco_content import WHERE, of_content
from hourglass_jax.data.formats.grouping import Object
from hourglass_jax.data.formats.keypoint_file import KeypointFile
from hourglass_jax.data.formats.places import Place
from hourglass_jax.data.formats.problems import Problems


class Gathered:
    """The images, annotations and categories of a file or folder, one after the other.

    Attributes:
      path: path of the file or folder.
      problems: what is wrong with it, entry by entry.
    """

    def __init__(self, path: pathlib.Path):
        self.path, self.problems = path, Problems(path)
        self._content: dict[str, list[dict]] = {"images": [], "annotations": [], "categories": []}
        self._places: list[Place] = []
        self._files = [path]

    def category(
        self,
        name: str,
        joints: Sequence[str] = (),
        limbs: Sequence[tuple[int, int]] = (),
        **pairs: Any,
    ) -> int:
        """Adds a category, and returns its id.

        Args:
          name: name of the category.
          joints: names of its joints.
          limbs: pairs of joints, counted from 0.
          **pairs: fields that say which joints are mirrored; see `mirror`.
        """
        entry = {"id": len(self._content["categories"]) + 1, "name": name, **pairs}
        if joints:
            entry |= {"keypoints": list(joints), "skeleton": [[a + 1, b + 1] for a, b in limbs]}
        self._content["categories"].append(entry)
        return entry["id"]

    def image(self, place: Place, size: tuple[int, int] | None, **fields: Any) -> int:
        """Adds an image with its width and height, if they are known, and returns its id."""
        number = len(self._places)
        self._places.append(place)
        width, height = size or (None, None)
        self._content["images"].append(
            {"id": number, "width": width, "height": height, WHERE: str(place), **fields}
        )
        return number

    def annotation(
        self,
        image: int,
        category: int,
        keypoints: Sequence[Sequence[float]] = (),
        box: Sequence[float] | None = None,
        where: str = "",
        track: int | None = None,
    ) -> None:
        """Adds an annotation.

        Args:
          image: id of its image.
          category: id of its category.
          keypoints: x, y and visibility (0, 1 or 2) of each joint; nothing for a box alone.
          box: x, y, width and height, px.
          where: what messages call it.
          track: number that it keeps through a video, if it has one.
        """
        name = where or str(self._places[image])
        self._content["annotations"].append(
            {
                "id": len(self._content["annotations"]) + 1,
                "image_id": image,
                "category_id": category,
                "keypoints": [number for joint in keypoints for number in joint],
                "bbox": None if box is None else list(box),
                WHERE: name,
                **({} if track is None else {"track_id": track}),
            }
        )

    def objects(
        self, image: int, objects: Iterable[Object], joints: Sequence[str], where: str
    ) -> None:
        """Adds the annotations of an image's objects, and categories where they are new."""
        ids = {entry["name"]: entry["id"] for entry in self._content["categories"]}
        for one in objects:
            if one.category not in ids:
                ids[one.category] = self.category(one.category, joints)
            self.annotation(image, ids[one.category], one.keypoints(joints), one.box, where)

    @property
    def is_empty(self) -> bool:
        """Whether there are no annotations."""
        return not self._content["annotations"]

    def file(self, path: pathlib.Path) -> None:
        """Notes a further file that labels were read from."""
        self._files.append(path)

    def result(self, *, boxes: bool) -> KeypointFile:
        """Returns what was gathered; see `of_content`."""

        def place_of(entry: Mapping[str, Any]) -> Place:
            return self._places[entry["id"]]

        found = of_content(self.path, self._content, place_of, problems=self.problems, boxes=boxes)
        found.files.extend(path for path in self._files if path.is_file())
        return found
