"""Every field that only one data set has is read by it, at the latest by a look at its images."""

import contextlib
import dataclasses

import pytest
from conftest import write_lsp
from recorded_reads import recorded_reads
from test_every_data_set import make_coco, make_custom, make_flic, make_mpii

from hourglass_jax import data
from hourglass_jax.errors import UserError


def make_lsp(folder):
    write_lsp(folder, official=2)
    return {"manual_dir": str(folder)}


def make_custom_with_validation(folder):
    made = make_custom(folder)
    own = {"validation_json": made["train_json"], "validation_image_dir": made["image_dir"]}
    return {**made, **own}


SMALL = {"num_train": 1, "num_validation": 1}
MAKERS = {
    "coco": make_coco,
    "coco_detection": lambda folder: {**make_coco(folder), "manual_dir": str(folder)},
    "custom": make_custom_with_validation,
    "custom_boxes": make_custom_with_validation,
    "flic": make_flic,
    "lsp": make_lsp,
    "mixture": lambda folder: {"parts": (("synthetic_people", 1.0, SMALL),)},
    "mpii": make_mpii,
    "synthetic_people": lambda folder: SMALL,
    "synthetic_scenes": lambda folder: SMALL,
}


@pytest.mark.core
@pytest.mark.parametrize("name", data.SOURCES)
def test_options_are_read(name, tmp_path):
    kind = data.source_class(name)
    with recorded_reads(kind.Options) as read:
        source = kind(**dataclasses.asdict(kind.Options(**MAKERS[name](tmp_path))))
        assert source.source_files is not None and source.settings is not None
        for split in source.splits:
            with contextlib.suppress(UserError):  # of so few images some splits are empty
                next(source.images(split), None)
    assert {field for _, field in read} == {f.name for f in dataclasses.fields(kind.Options)}
