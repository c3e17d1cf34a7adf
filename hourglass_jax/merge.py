"""The command that merges the shards of a prediction, and checks that nothing is missing."""

import argparse
import logging
import sys

from hourglass_jax.errors import UserError
from hourglass_jax.runtime import command_line, lock, paths, preemption

logger = logging.getLogger("hourglass_jax.merge")  # also if run as __main__


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = command_line.Arguments(prog="python -m hourglass_jax.merge", description=__doc__)
    parser.add_argument("output", type=command_line.path, metavar="DIR",
        help="the --output of hourglass_jax.predict with --shards; predictions.parquet and "
        "predictions.json are written there")  # fmt: skip
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Runs the command, and returns the exit status, 0."""
    output = paths.path(_arguments(argv).output, "DIR")
    from hourglass_jax.inference import merging, table

    table.arrow("merging")
    if not output.is_dir():
        raise UserError(f"{output} is not a folder; give the --output of a prediction")
    with lock.claim(output, "DIR"):
        merged = merging.merge(output)
    logger.info(
        "%d shards, %d files, each exactly once: %d %s%s: %s",
        *(merged.shards, merged.files, merged.found, merged.objects),
        f", and {merged.failed} files that could not be read" if merged.failed else "",
        output / merging.TABLE,
    )
    return 0


def run() -> None:
    """Runs the command; its exit statuses are those of `main`, and 2 for a user's mistake."""
    preemption.end_at_once(resumes=lambda: False)
    with command_line.reporting_errors():
        sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
