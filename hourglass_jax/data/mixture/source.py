"""Several data sets as one, each with its share of every training batch."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hourglass_jax import data, rules
from hourglass_jax.data.base import AnnotatedImage, Source
from hourglass_jax.data.local_options import local_options
from hourglass_jax.data.mixture.labels import Labels
from hourglass_jax.data.teacher import RULE, Teacher
from hourglass_jax.errors import UserError
from hourglass_jax.rules import Path, Text, field

if TYPE_CHECKING:
    from hourglass_jax.tasks.base import Metric

# What reads folders, by a file in them: those in COCO's format, and those in LSP's.
_FOLDERS = {"train.json": "custom_boxes", "joints.mat": "lsp"}


@dataclasses.dataclass(frozen=True)
class Taught:
    """What any part may have: a teacher's file, in the part's folder or elsewhere."""

    teacher: str = field(Path(), default="")


class Parts:
    """Data sets with their shares of a batch, and fields of `config.data` for each."""

    def accepts(self, value: Any) -> bool:
        return isinstance(value, (list, tuple)) and all(
            isinstance(part, (list, tuple))
            and len(part) in (2, 3)
            and isinstance(part[0], str)
            and rules.Number(0, 1).accepts(part[1])
            and (len(part) == 2 or isinstance(part[2], Mapping))
            for part in value
        )

    def __str__(self) -> str:
        return (
            "a list of data sets and shares, such as (('mpii', 0.5), ('lsp', 0.5)), in which fields"
            " of a data set may follow, such as ('lsp', 0.5, {'extended': False})"
        )


class Names:
    """The name of a part, or names of several."""

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str) or rules.Each(Text()).accepts(value)

    def __str__(self) -> str:
        return "the name of a part, or a list of names"


class MixtureSource(Source):
    """Data sets that are trained on together, of which one or several are validated on.

    A part is a data set by name, or a folder in `manual_dir`: with train.json, images and maybe
    validation.json in COCO's format, or with joints.mat and images as in Leeds Sports Pose, whose
    own folder has to be there, too. Parts get `manual_dir` unless they set it. Joints and
    categories are joined by name. A part that splits its training data, to validate on some of
    it, does so only if it is validated on; others are trained on in full. With `teacher`, a file in
    its folder or elsewhere, a part's training labels are mended; see `data/teacher.py`.

    Where several parts are validated on, their splits for choosing the best checkpoint are one,
    which is also reported; ids there begin with the part's name. A split for tests alone is then
    not looked at.
    """

    name = "mixture"

    @dataclasses.dataclass(frozen=True)
    class Options:
        """The parts with their shares, which to validate on (the first), and their folder."""

        parts: tuple = field(Parts(), default=())
        validate_on: str | tuple[str, ...] = field(Names(), default="")
        manual_dir: str = field(Path(), default="")

    def __init__(self, **options):
        self.options = self.Options(**options)
        parts = self.options.parts
        total = sum(share for _, share, *_ in parts)
        if abs(total - 1) > 1e-3:
            raise UserError(f"config.data.parts={parts!r} must have shares that add up to 1")
        names = [name for name, *_ in parts]
        given = self.options.validate_on or names[0]
        validated = [given] if isinstance(given, str) else list(dict.fromkeys(given))
        if not set(validated) <= set(names):
            raise UserError(
                f"config.data.validate_on={given!r} must be one of the parts, {', '.join(names)}"
            )
        sources = [self._make(name, *fields) for name, _, *fields in parts]
        self._validated = {name: sources[names.index(name)] for name in validated}
        first = self._validated[validated[0]]
        trained = [
            (s, name, share) for s, (name, share, *_) in zip(sources, parts, strict=True) if share
        ]
        self._trained = {f"train{i}_{name}": s for i, (s, name, _) in enumerate(trained)}
        shares = [share / total for _, _, share in trained]
        self.shares = dict(zip(self._trained, shares, strict=True))
        of_validated = [split for split, source in self._trained.items() if source is first]
        self.train = (of_validated or list(self._trained))[0]
        self.select, self.report = "validation", "validation"
        if len(validated) == 1:
            self.select, self.report = first.select, first.report
        self._labels = Labels.of([*self._validated.values(), *sources])
        self.labels, self.categories = self._labels.skeleton, self._labels.categories
        self.category_ids = first.category_ids if len(self.categories) == 1 else ()
        self.tolerance, self.box_margin = first.tolerance, first.box_margin
        self.allow_missing = max(source.allow_missing for source in sources)
        self.mirror_warning = next((s.mirror_warning for s in sources if s.mirror_warning), "")
        teachers = [_teacher_of(name, *fields) for name, _, *fields in parts]
        self._teachers = {
            source: pathlib.Path(self.options.manual_dir, name, teacher)
            for source, name, teacher in zip(sources, names, teachers, strict=True)
            if teacher
        }

    def _make(self, name: str, fields: Mapping[str, Any] | None = None) -> Source:
        """Makes the data set of a part."""
        folder = pathlib.Path(self.options.manual_dir) / name
        beside = rules.names(Taught)
        fields = {key: value for key, value in (fields or {}).items() if key not in beside}
        if name == self.name:
            raise UserError(f"config.data.parts={self.options.parts!r} must not hold a mixture")
        given: dict[str, Any] = {"manual_dir": self.options.manual_dir}
        if name in data.SOURCES:
            kind = data.source_class(name)
        else:
            file = next((file for file in _FOLDERS if (folder / file).is_file()), None)
            if file is None:
                raise UserError(
                    f"config.data.parts names {name!r}, which is neither a data set "
                    f"({', '.join(sorted(data.SOURCES))}) nor a folder with a "
                    f"{' or '.join(_FOLDERS)} in "
                    f"config.data.manual_dir={self.options.manual_dir!r}"
                )
            kind = data.source_class(_FOLDERS[file])
            given |= {"folders": (name,), **_files_of(folder)}
        known = {f.name for f in dataclasses.fields(kind.Options)}
        fields = {n: value for n, value in given.items() if n in known} | fields
        options = rules.section(kind.Options, fields, f"data.parts.{name}.")
        return kind(**local_options(options))

    @property
    def _parts(self) -> Sequence[Source]:
        return list(dict.fromkeys([*self._trained.values(), *self._validated.values()]))

    @functools.cached_property
    def _taught(self) -> dict[Source, Teacher]:
        return {source: Teacher.read(path) for source, path in self._teachers.items()}

    @property
    def splits(self) -> Sequence[str]:
        return list(dict.fromkeys([*self._trained, self.select, self.report]))

    def parts(self, split: str) -> Mapping[str, Source]:
        several = len(self._validated) > 1 and split not in self._trained
        return self._validated if several else {}

    def _own_splits(self, split: str) -> list[tuple[Source, str, str]]:
        """Returns whose splits this one is made of, their names there, and prefixes of ids."""
        source = self._trained.get(split)
        if source is not None:
            held_out = [] if source in self._validated.values() else source.held_out
            return [(source, name, "") for name in (source.train, *held_out)]
        if len(self._validated) == 1:
            return [(source, split, "") for source in self._validated.values()]
        return [(source, source.select, f"{name}/") for name, source in self._validated.items()]

    def images(self, split: str) -> Iterator[AnnotatedImage]:
        for source, name, prefix in self._own_splits(split):
            teacher = self._taught.get(source) if split in self._trained else None
            for image in source.images(name):
                image = self._labels.translated(image, source, teacher)
                yield _with_prefix(image, prefix) if prefix else image

    def count(self, split: str) -> int:
        return sum(source.count(name) for source, name, _ in self._own_splits(split))

    @property
    def settings(self) -> Mapping[str, Any]:
        validated = [[s.name, s.version, s.settings] for s in self._validated.values()]
        # Shares do not change the records.
        return {
            "parts": [
                [name, s.name, s.version, s.settings, *([RULE] if s in self._teachers else [])]
                for name, s in self._trained.items()
            ],
            "validated": validated[0] if len(validated) == 1 else validated,
            "skeleton": self.labels.to_json(),
            "categories": self.categories,
        }

    @property
    def source_files(self) -> Sequence[pathlib.Path]:
        files = [path for s in self._parts for path in s.source_files]
        return list(dict.fromkeys([*files, *self._teachers.values()]))

    @property
    def large_files(self) -> Sequence[pathlib.Path]:
        return list(dict.fromkeys(path for s in self._parts for path in s.large_files))

    @property
    def evaluation_files(self) -> Sequence[pathlib.Path]:
        return [path for s in self._validated.values() for path in s.evaluation_files]

    def release(self) -> None:
        super().release()
        for source in self._parts:
            source.release()

    def metrics(self, split: str) -> Sequence["Metric"]:
        first = next(iter(self._validated.values()))
        same = first.labels.joints == self.labels.joints and len(self._validated) == 1
        return first.metrics(split) if same and split not in self._trained else []


def _teacher_of(name: str, fields: Mapping[str, Any] | None = None) -> str:
    """Returns the file of a part's teacher; "" if it has none."""
    given = {key: value for key, value in (fields or {}).items() if key in rules.names(Taught)}
    return rules.section(Taught, given, f"data.parts.{name}.").teacher


def _with_prefix(image: AnnotatedImage, prefix: str) -> AnnotatedImage:
    """Returns an image with ids that no other part has."""
    annotations = [dataclasses.replace(a, id=f"{prefix}{a.id}") for a in image.annotations]
    return dataclasses.replace(image, id=f"{prefix}{image.id}", annotations=annotations)


def _files_of(folder: pathlib.Path) -> dict[str, str]:
    """Returns the fields that name a folder's files, as far as it has them."""
    validation = folder / "validation.json"
    return {
        "train_json": str(folder / "train.json"),
        "image_dir": str(folder / "images"),
        "validation_json": str(validation) if validation.is_file() else "",
    }
