"""Every reader against damaged files, through the command: it neither hangs nor crashes.

Ten variants of each format; with --slow 500. A run must end with 0 (the damage is harmless) or 2
and one sentence, and leave no records behind that a later run would take for whole.
"""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

import mpii_files
import numpy as np
import pytest
import scipy.io
from conftest import ROOT, write_lsp
from damages import damage_bytes, damage_tree
from PIL import Image
from test_coco import write_coco
from test_custom import write_csv, write_json
from test_flic import write as write_flic
from test_mpii import ABSENT, first_people


def damage_array(rng, array: np.ndarray) -> np.ndarray:
    """Gives an array another shape or type, or numbers that are none."""
    kind = rng.integers(6)
    if kind == 0:
        return array[..., : array.shape[-1] // 2]
    if kind == 1:
        return array.ravel()
    if kind == 2:
        return np.full(array.shape, "x")
    if kind == 3:
        return array.transpose()
    changed = array.astype(np.float64)
    places = rng.integers(0, array.size, 20)
    changed.flat[places] = [np.nan, np.inf, -1e300, 1e300][rng.integers(4)]
    return changed


def claim_enormous(content: bytes) -> bytes:
    """A JPEG that says it is 65,535 px wide and high."""
    place = max(content.find(bytes([0xFF, marker])) for marker in (0xC0, 0xC1, 0xC2))
    return content[: place + 5] + b"\xff\xff\xff\xff" + content[place + 9 :]


def damage_picture(rng, path: pathlib.Path) -> None:
    content = path.read_bytes()
    changed = claim_enormous(content) if rng.random() < 0.3 else damage_bytes(rng, content)
    path.unlink()  # it may be a link to others
    path.write_bytes(changed)


def damage_file(rng, path: pathlib.Path, *, tree=False, array=None) -> None:
    if tree and rng.random() < 0.7:
        path.write_text(json.dumps(damage_tree(rng, json.loads(path.read_text()))))
    elif array and rng.random() < 0.5:
        content = scipy.io.loadmat(path)
        scipy.io.savemat(path, {array: damage_array(rng, content[array])})
    else:
        path.write_bytes(damage_bytes(rng, path.read_bytes()))


def coco_flags(folder):
    return [
        f"--config.data.train_json={folder}/keypoints.json",
        f"--config.data.validation_json={folder}/keypoints.json",
        f"--config.data.image_dir={folder}/images",
        f"--config.data.validation_image_dir={folder}/images",
    ]


def write_detections(folder):
    content = write_coco(folder)
    boxes = [{"image_id": a["image_id"], "category_id": 1, "bbox": a["bbox"], "score": 0.5}
             for a in content["annotations"]]  # fmt: skip
    (folder / "boxes.json").write_text(json.dumps(boxes))


def write_table(folder):
    folder.mkdir()
    write_csv(folder / "table.csv", folders=True)
    (folder / "labeled-data/cage").mkdir(parents=True)
    for i in range(12):
        noise = np.random.default_rng(i).integers(0, 256, (48, 64, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"labeled-data/cage/img{i}.png")


# For each format: what writes a whole data set, what damages it, and the flags to read it.
FORMATS = {
    "mpii": (
        lambda folder: mpii_files.write(folder, first_people(), 120),
        lambda rng, folder: damage_file(rng, folder / "mpii_human_pose_v1_u12_1.mat"),
        lambda folder: [
            "--config=configs/mpii.py",
            f"--config.data.manual_dir={folder}",
            f"--config.data.allow_missing={ABSENT}",
        ],
    ),
    "lsp": (
        lambda folder: write_lsp(folder),
        lambda rng, folder: damage_file(rng, folder / "lspet/joints.mat", array="joints"),
        lambda folder: ["--config=configs/lsp.py", f"--config.data.manual_dir={folder}"],
    ),
    "flic": (
        lambda folder: write_flic(folder, sides="person"),
        lambda rng, folder: damage_file(rng, folder / "FLIC/examples.mat"),
        lambda folder: ["--config=configs/flic.py", f"--config.data.manual_dir={folder}"],
    ),
    "coco": (
        write_coco,
        lambda rng, folder: damage_file(rng, folder / "keypoints.json", tree=True),
        lambda folder: ["--config=configs/coco.py", *coco_flags(folder)],
    ),
    "detections": (
        write_detections,
        lambda rng, folder: damage_file(rng, folder / "boxes.json", tree=True),
        lambda folder: [
            "--config=configs/coco.py",
            *coco_flags(folder),
            f"--config.data.detections={folder}/boxes.json",
        ],
    ),
    "custom": (
        write_json,
        lambda rng, folder: damage_file(rng, folder / "keypoints.json", tree=True),
        lambda folder: [
            "--config=configs/custom.py",
            f"--config.data.train_json={folder}/keypoints.json",
            f"--config.data.image_dir={folder}",
        ],
    ),
    "deeplabcut": (
        write_table,
        lambda rng, folder: damage_file(rng, folder / "table.csv"),
        lambda folder: [
            "--config=configs/custom.py",
            f"--config.data.train_json={folder}/table.csv",
            f"--config.data.image_dir={folder}",
        ],
    ),
    "pictures": (
        write_json,
        lambda rng, folder: damage_picture(rng, folder / f"img{2 * rng.integers(10)}.jpg"),
        lambda folder: [
            "--config=configs/custom.py",
            f"--config.data.train_json={folder}/keypoints.json",
            f"--config.data.image_dir={folder}",
        ],
    ),
}


def link_or_copy(source, target):
    if pathlib.Path(source).suffix in (".jpg", ".png"):
        with contextlib.suppress(OSError):  # a file system has a limit of links to one file
            return os.link(source, target)
    return shutil.copy(source, target)


# The few variants of all formats are read by one process, which starts up once.
@pytest.mark.parametrize(
    ("names", "variants"),
    [
        pytest.param(list(FORMATS), 10, id="all"),
        *(pytest.param([name], 500, id=name, marks=pytest.mark.slow) for name in FORMATS),
    ],
)
def test_damaged_files_cost_one_sentence(tmp_path, names, variants):
    runs = tmp_path / "runs"
    for name in names:
        write_damaged(name, variants, tmp_path / name, runs)
    result = subprocess.run(
        [sys.executable, ROOT / "tests/data/fuzz_command.py", runs],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": ""},
    )
    assert result.returncode == 0, result.stderr[-3000:]
    outcomes = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    assert len(outcomes) == variants * len(names)
    for outcome in outcomes:
        assert outcome["status"] in (0, 2), outcome
        if outcome["status"] == 2:
            assert outcome["message"] and "\n" not in outcome["message"], outcome
            left = list((runs / outcome["folder"] / "records").rglob("dataset_info.json"))
            assert not left, outcome
            assert not list((runs / outcome["folder"] / "records").rglob("*incomplete*")), outcome
    refused = {o["folder"].rpartition("-")[0] for o in outcomes if o["status"] == 2}
    assert refused == set(names)


def write_damaged(name, variants, whole, runs):
    write, damage, flags = FORMATS[name]
    write(whole)
    for i in range(variants):
        folder = runs / f"{name}-{i:03d}"
        # Pictures are links, which damage_picture breaks; annotations are copies.
        shutil.copytree(
            whole,
            folder / "source",
            copy_function=link_or_copy,
        )
        damage(np.random.default_rng([i, len(name)]), folder / "source")
        arguments = [
            *flags(folder / "source"),
            f"--config.data.data_dir={folder / 'records'}",
            f"--workdir={folder / 'run'}",
        ]
        (folder / "flags.json").write_text(json.dumps(arguments))
