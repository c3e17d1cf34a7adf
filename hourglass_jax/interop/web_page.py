"""A trained network as a web page, which finds poses or boxes on the visitor's own machine.

    npm ci --prefix web
    python -m hourglass_jax.interop.export --checkpoint=people-pose --output=site/ --runtime=web

The page's sources are in `hourglass_jax/web/`; it runs networks by ONNX Runtime Web, which is
copied from npm's folder. `site.json` holds what else the page needs to predict as `PoseEstimator`
and `Detector` do. Kernels are stored in half precision, by which the networks in the package lose
nothing.
"""

import dataclasses
import json
import logging
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from hourglass_jax.checkpoint import trained as checkpoint
from hourglass_jax.checkpoint.trained import Trained
from hourglass_jax.errors import UserError
from hourglass_jax.image import draw
from hourglass_jax.inference import finder as finders
from hourglass_jax.inference.similarity import SAME
from hourglass_jax.interop import export as onnx
from hourglass_jax.runtime import disk
from hourglass_jax.tasks import views
from hourglass_jax.tasks.detection import pooling, suppression
from hourglass_jax.tasks.detection.options import CENTRES
from hourglass_jax.tasks.detection.precision import PERSON_IN_BOX, sigmas
from hourglass_jax.tasks.detection.task import Detection
from hourglass_jax.tasks.single_pose import drawing
from hourglass_jax.tasks.single_pose.task import SinglePose

logger = logging.getLogger("hourglass_jax.interop.web_page")
SOURCES = pathlib.Path(__file__).parent.parent / "web"
# The version in web/package.json.
VERSION = "1.30.0"
# For the processor, and for graphics cards; a page loads one of them.
RUNTIME = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)


def export(
    path: str, folder: pathlib.Path, *, finder: str | None = None, runtime: str | None = None
) -> None:
    """Writes a page.

    Args:
      path: a checkpoint of a network for boxes, or for one person's pose; see `trained.load`.
      folder: folder to write to; other files in it stay.
      finder: checkpoint of the detector that finds people, or "none" where an image shows one
        person; None chooses as `PoseEstimator.from_checkpoint` does.
      runtime: folder in which `npm ci` was run.

    Raises:
      UserError: there is no page for the network, a checkpoint or the runtime is missing, or the
        folder cannot be written to.
      RunError: a written network gives other outputs, or the disk has failed.
    """
    where = f"--output={folder}/"
    dist = find_runtime(runtime)
    disk.make_folder(folder / "runtime", where)
    networks = _networks(path, finder)
    names = [pathlib.PurePath(name).name for name, _ in networks.values()]
    site: dict[str, Any] = {"names": names, "detector": None, "pose": None}
    try:
        for role, (_, trained) in networks.items():
            describe = {"pose": describe_pose, "detector": describe_detector}[role]
            alone = len(networks) == 1
            site[role] = {"file": f"{role}.onnx", **describe(trained, alone=alone)}
            _write_network(trained, folder / f"{role}.onnx", site[role]["sides"])
        for source in [*SOURCES.iterdir(), *(dist / name for name in RUNTIME)]:
            target = folder / ("runtime" if source.parent == dist else "") / source.name
            with disk.replacing(target) as file:
                shutil.copyfile(source, file)
        with disk.replacing(folder / "site.json") as file:
            file.write_text(json.dumps(site), encoding="utf-8")
    except OSError as error:
        raise disk.refusal(error, where) from None
    found = " and ".join(names)
    logger.info("%s: a page with %s; serve it by launch/web.sh or any web server", folder, found)


def find_runtime(folder: str | None) -> pathlib.Path:
    """Returns the folder of ONNX Runtime Web's files.

    Raises:
      UserError: it is missing or of another version.
    """
    how = (
        f"run npm ci in the folder web of the repository, or npm install onnxruntime-web@{VERSION} "
        f"in any folder, and give that folder as --runtime"
    )
    if folder is None:
        raise UserError(f"a page needs ONNX Runtime Web {VERSION}; {how}")
    package = pathlib.Path(folder) / "node_modules" / "onnxruntime-web"
    try:
        version = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, KeyError):
        raise UserError(f"--runtime={folder} has no node_modules/onnxruntime-web; {how}") from None
    missing = [name for name in RUNTIME if not (package / "dist" / name).is_file()]
    if version != VERSION or missing:
        raise UserError(
            f"--runtime={folder} has version {version} of ONNX Runtime Web"
            f"{f' without {missing[0]}' if missing else ''}, and {VERSION} is needed; {how}"
        )
    return package / "dist"


def _networks(path: str, finder: str | None) -> dict[str, tuple[str, Trained]]:
    """Returns name and network of each role, of which there are "detector" and "pose"."""
    trained = checkpoint.load(path)
    task = trained.task
    if isinstance(task, Detection):
        if finder is not None:
            raise UserError(f"--finder={finder}: a detector finds by itself; leave it out")
        return {"detector": (path, trained)}
    if not isinstance(task, SinglePose):
        raise UserError(f"there is no page for networks of the task {task.name!r}")
    if finder is None or finder == finders.AUTO:
        finder = finders.suitable(task.joints)
    if finder == finders.NONE:
        return {"pose": (path, trained)}
    return {"detector": (finder, checkpoint.load(finder, "--finder")), "pose": (path, trained)}


def describe_detector(trained: Trained, *, alone: bool) -> dict[str, Any]:
    """Returns the entry of a detector in site.json.

    Args:
      trained: the detector.
      alone: whether all of its boxes are wanted, and not only those of people.

    Raises:
      UserError: there is no page for detectors of its kind.
    """
    task = trained.task
    if not isinstance(task, Detection) or task.options.kind != CENTRES:
        kind = task.options.kind if isinstance(task, Detection) else task.name
        raise UserError(
            f"a page can show the boxes of {CENTRES} alone, and this network has {kind}"
        )
    first, heads = 0, {}
    for name, head in task.heads.items():
        heads[name], first = first, first + len(head.channels)
    return {
        "sides": views.sides_of(trained.model, trained.input_size, trained.inference.scales),
        "stride": task.stride,
        "heads": heads,
        "categories": task.categories,
        "ids": task.category_ids,
        "colours": [_hex(draw.colour(i)) for i in range(len(task.categories))],
        "only": None if alone else finders.category_of_people(task.categories),
        "topK": task.options.top_k,
        "limit": task.max_instances,
        "longerSides": _longer_sides(task),
        "suppression": {
            "method": task.options.suppression,
            "iou": suppression.IOU,
            "sigma": suppression.SIGMA,
            "minScore": suppression.MIN_SCORE,
        },
        "minScore": task.min_score if alone else finders.MIN_SCORE,
        "boxShare": finders.BOX_SHARE,
        "flipTest": trained.inference.flip_test,
    }


def describe_pose(trained: Trained, *, alone: bool = True) -> dict[str, Any]:
    """Returns the entry of a network for poses in site.json."""
    task = trained.task
    assert isinstance(task, SinglePose)
    skeleton = task.skeleton
    limbs = [
        [skeleton.index(a), skeleton.index(b), _hex(drawing.limb_colour(a, b))]
        for a, b in skeleton.limbs
    ]
    return {
        "sides": [trained.input_size],
        "stride": task.stride,
        "joints": skeleton.joints,
        "colours": [_hex(drawing.joint_colour(joint)) for joint in skeleton.joints],
        "limbs": limbs,
        "flipOrder": np.asarray(skeleton.flip_order).tolist(),
        "decoder": task.decoder,
        "margin": trained.inference.box_margin,
        "flipTest": trained.inference.flip_test,
        "sure": drawing.SURE,
        "shown": drawing.LIKELY,
        "sigmas": sigmas(skeleton.joints).tolist(),
        "same": SAME,
        "personInBox": PERSON_IN_BOX,
    }


def _longer_sides(task: Detection) -> dict[str, float] | None:
    """Returns which boxes a size of an image gives if there are others; None if it gives all.

    `least` and `most` are limits of their longer sides, px of the network's input; see
    `pooling.pool`.
    """
    if task.options.published or not task.training_size:
        return None
    least, most = pooling.LEAST * task.training_size, pooling.MOST * task.training_size
    return {"least": least, "most": most}


def _hex(colour: tuple[int, ...]) -> str:
    return "#" + "".join(f"{value:02x}" for value in colour)


def _write_network(trained: Trained, path: pathlib.Path, sides: Sequence[int]) -> None:
    rounded = _rounded(trained)
    with disk.replacing(path) as file:
        onnx.write_onnx(rounded, onnx.MAPS, file, half=True, sides=sides)
    for side in sides:
        onnx.difference(rounded, onnx.MAPS, path, onnx.run_onnx, side=side)


def _rounded(trained: Trained) -> Trained:
    """Returns a network whose kernels are numbers that half precision holds, where in its range."""

    def half(path, value):
        value = np.asarray(value, np.float32)
        if path[-1].key != "kernel":
            return value
        with np.errstate(over="ignore"):
            rounded = value.astype(np.float16).astype(np.float32)
        return rounded if np.isfinite(rounded).all() else value

    params = jax.tree_util.tree_map_with_path(half, trained.variables["params"])
    return dataclasses.replace(trained, variables={**trained.variables, "params": params})
