"""Several data sets as one, each with its share of every training batch."""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hourglass_jax import data, rules
from hourglass_jax.data.base import AnnotatedImage, Source
from hourglass_jax.data.mixture.labels import Labels
from hourglass_jax.errors import UserError
from hourglass_jax.rules import Path, Text, field

if TYPE_CHECKING:
    from hourglass_jax.tasks.base import Metric

# What reads folders, by a file in them: those in COCO's format, and those in LSP's.
_FOLDERS = {"train.json": "custom_boxes", "joints.mat": "lsp"}


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


class MixtureSource(Source):
    """Data sets that are trained on together, of which one is validated on.

    A part is a data set by name, or a folder in `manual_dir`: with train.json, images and maybe
    validation.json in COCO's format, or with joints.mat and images as in Leeds Sports Pose, whose
    own folder has to be there, too. Parts get `manual_dir` unless they set it. Joints and
    categories are joined by name. A part that splits its training data, to validate on some of
    it, does so only if it is the part to validate on; others are trained on in full.
    """

    name = "mixture"

    @dataclasses.dataclass(frozen=True)
    class Options:
        """The parts with their shares, which one to validate on (the first), and their folder."""

        parts: tuple = field(Parts(), default=())
        validate_on: str = field(Text(), default="")
        manual_dir: str = field(Path(), default="")

    def __init__(self, **options):
        self.options = self.Options(**options)
        parts = self.options.parts
        total = sum(share for _, share, *_ in parts)
        if abs(total - 1) > 1e-3:
            raise UserError(f"config.data.parts={parts!r} must have shares that add up to 1")
        names = [name for name, *_ in parts]
        validated = self.options.validate_on or names[0]
        if validated not in names:
            raise UserError(
                f"config.data.validate_on={validated!r} must be one of the parts, "
                f"{', '.join(names)}"
            )
        sources = [self._make(name, *fields) for name, _, *fields in parts]
        self._validated = sources[names.index(validated)]
        trained = [
            (s, name, share) for s, (name, share, *_) in zip(sources, parts, strict=True) if share
        ]
        self._trained = {f"train{i}_{name}": s for i, (s, name, _) in enumerate(trained)}
        shares = [share / total for _, _, share in trained]
        self.shares = dict(zip(self._trained, shares, strict=True))
        of_validated = [
            split for split, source in self._trained.items() if source is self._validated
        ]
        self.train = (of_validated or list(self._trained))[0]
        self.select, self.report = self._validated.select, self._validated.report
        self._labels = Labels.of([self._validated, *sources])
        self.labels, self.categories = self._labels.skeleton, self._labels.categories
        self.category_ids = self._validated.category_ids if len(self.categories) == 1 else ()
        self.tolerance, self.box_margin = self._validated.tolerance, self._validated.box_margin
        self.allow_missing = max(source.allow_missing for source in sources)
        self.mirror_warning = next((s.mirror_warning for s in sources if s.mirror_warning), "")

    def _make(self, name: str, fields: Mapping[str, Any] | None = None) -> Source:
        """Makes the data set of a part."""
        folder = pathlib.Path(self.options.manual_dir) / name
        fields = dict(fields or {})
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
        return kind(**dataclasses.asdict(options))

    @property
    def _parts(self) -> Sequence[Source]:
        return list(dict.fromkeys([*self._trained.values(), self._validated]))

    @property
    def splits(self) -> Sequence[str]:
        return list(dict.fromkeys([*self._trained, self.select, self.report]))

    def _own_splits(self, split: str) -> tuple[Source, Sequence[str]]:
        """Returns whose split this is, and its names there."""
        source = self._trained.get(split)
        if source is None:
            return self._validated, [split]
        held_out = [] if source is self._validated else source.held_out
        return source, [source.train, *held_out]

    def images(self, split: str) -> Iterator[AnnotatedImage]:
        source, names = self._own_splits(split)
        for name in names:
            for image in source.images(name):
                yield self._labels.translated(image, source)

    def count(self, split: str) -> int:
        source, names = self._own_splits(split)
        return sum(source.count(name) for name in names)

    @property
    def settings(self) -> Mapping[str, Any]:
        # Shares do not change the records.
        return {
            "parts": [[name, s.name, s.version, s.settings] for name, s in self._trained.items()],
            "validated": [self._validated.name, self._validated.version, self._validated.settings],
            "skeleton": self.labels.to_json(),
            "categories": self.categories,
        }

    @property
    def source_files(self) -> Sequence[pathlib.Path]:
        return list(dict.fromkeys(path for s in self._parts for path in s.source_files))

    @property
    def large_files(self) -> Sequence[pathlib.Path]:
        return list(dict.fromkeys(path for s in self._parts for path in s.large_files))

    @property
    def evaluation_files(self) -> Sequence[pathlib.Path]:
        return self._validated.evaluation_files

    def release(self) -> None:
        for source in self._parts:
            source.release()

    def metrics(self, split: str) -> Sequence["Metric"]:
        same = self._validated.labels.joints == self.labels.joints
        return self._validated.metrics(split) if same and split not in self._trained else []


def _files_of(folder: pathlib.Path) -> dict[str, str]:
    """Returns the fields that name a folder's files, as far as it has them."""
    validation = folder / "validation.json"
    return {
        "train_json": str(folder / "train.json"),
        "image_dir": str(folder / "images"),
        "validation_json": str(validation) if validation.is_file() else "",
    }
