"""The command that writes labels of other tools as a data set in COCO's format."""

import argparse
import logging
import pathlib
import sys

from hourglass_jax.errors import UserError
from hourglass_jax.runtime import command_line, lock, preemption

logger = logging.getLogger("hourglass_jax.import_labels")  # also if run as __main__


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = command_line.Arguments(
        prog="python -m hourglass_jax.import_labels", description=__doc__
    )
    add, path = parser.add_argument, command_line.path_on_disk
    add("labels", type=path,
        help="file or folder of labels, as for config.data.train_json: of SLEAP, DeepLabCut, "
        "Lightning Pose, YOLO, Label Studio, LabelMe or CVAT")  # fmt: skip
    add("--output", type=path, required=True,
        help="new folder for train.json, images/ and, if the labels have such a part, "
        "validation.json")  # fmt: skip
    add("--image_dir", type=path,
        help="folder of the images or videos; default: near the labels")  # fmt: skip
    add("--outside_files", action="store_true", help="images may lie outside of that folder")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Runs the command.

    Returns:
      The exit status: 0, or 1 if some of the images could not be read.
    """
    flags = _arguments(argv)
    from hourglass_jax.data.formats import annotation_files
    from hourglass_jax.data.formats.coco_writer import Writer

    output = pathlib.Path(flags.output)
    splits = {"train": flags.labels, "validation": annotation_files.validation_of(flags.labels)}
    if any((output / f"{split}.json").exists() for split in splits):
        raise UserError(f"--output={output} holds labels; choose another folder")
    folder = pathlib.Path(flags.image_dir).absolute() if flags.image_dir else None
    files = {
        split: annotation_files.read_all(labels, folder, outside=flags.outside_files, split=split)
        for split, labels in splits.items()
        if labels
    }
    with lock.claim(output, "--output"):
        writer = Writer(output)
        for split, file in files.items():
            images, annotations = writer.write(file, split)
            logger.info(
                "%s: %d images and %d annotations", output / f"{split}.json", images, annotations
            )
    for problem in writer.missing:
        command_line.say(f"error: {problem}")
    return 1 if writer.missing else 0


def run() -> None:
    """Runs the command; its exit statuses are those of `main`, and 2 for a user's mistake."""
    preemption.end_at_once(resumes=lambda: False)
    with command_line.reporting_errors():
        sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
