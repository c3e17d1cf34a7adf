"""Eight CPU devices, strict arrays, and small data sets that the tests make themselves."""

import os
import tempfile

# Before JAX starts: as many devices as the data-parallel tests need.
os.environ["JAX_PLATFORMS"] = "cpu"
# Compiling is most of the tests' time: compile quickly, and each program once for all processes.
# A process that a test starts has the flags already; with them twice, it would share no program.
os.environ["XLA_FLAGS"] = " ".join(
    dict.fromkeys(
        [
            *os.environ.get("XLA_FLAGS", "").split(),
            "--xla_force_host_platform_device_count=8",
            "--xla_backend_optimization_level=0",
            "--xla_cpu_use_fusion_emitters=false",
        ]
    )
)
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", tempfile.mkdtemp(prefix="hourglass_tests"))
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import importlib.util
import pathlib

import jax
import numpy as np
import pytest
import scipy.io
from PIL import Image

from hourglass_jax import config_files
from hourglass_jax.runtime import program_cache, startup

startup.collect_garbage_rarely()
program_cache.verify()  # as the commands do, which would make other entries again
jax.config.update("jax_numpy_rank_promotion", "raise")

ROOT = pathlib.Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"


def pytest_configure(config):
    """Warnings from our own modules are errors; a filter names one module each."""
    for path in (ROOT / "hourglass_jax").rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        config.addinivalue_line("filterwarnings", f"error:::{module}")


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run what takes minutes as well")


# These files take longest: they are begun first, so that no long test is left over for the end.
LONG = ("test_train", "test_failures", "test_options", "test_step", "test_every_data_set")


def pytest_collection_modifyitems(config, items):
    rank = {stem: i for i, stem in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONG)))
    if not config.getoption("--slow"):
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="takes minutes; run with --slow"))


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real pictures; the tests that need them are skipped without it."""
    folder = SHARED / "data"
    if not (folder / "lsp" / "joints.mat").is_file():
        pytest.skip(f"no real pictures in {folder}")
    return folder


def write_lsp(folder: pathlib.Path, *, official: int = 2000, extended: int = 3):
    """Writes a data set in LSP's published layout: noise pictures, joints in a known place."""
    rng = np.random.default_rng(0)
    for name, count, digits in (("lsp", official, 4), ("lspet", extended, 5)):
        images = folder / name / "images"
        images.mkdir(parents=True)
        for i in range(count):
            noise = rng.integers(0, 256, (60 + i % 4, 50, 3), dtype=np.uint8)
            Image.fromarray(noise).save(images / f"im{i + 1:0{digits}d}.jpg")
    # x, y count from 1; the third row is 1 where occluded in one file, where labelled in the other.
    xy = rng.uniform(5, 45, (official, 14, 2))
    occluded = rng.random((official, 14)) < 0.2
    lsp = np.concatenate([xy, occluded[..., None]], axis=-1)
    scipy.io.savemat(folder / "lsp" / "joints.mat", {"joints": lsp.transpose(2, 1, 0)})
    xy = rng.uniform(5, 45, (extended, 14, 2))
    labelled = np.ones((extended, 14), bool)
    labelled[:, 0] = False
    lspet = np.concatenate([xy, labelled[..., None]], axis=-1)
    scipy.io.savemat(folder / "lspet" / "joints.mat", {"joints": lspet.transpose(1, 2, 0)})
    return lsp, lspet


def load_benchmark(name: str):
    """The module benchmarks/<name>.py."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"benchmarks/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_config(name: str):
    """The config of configs/<name>.py."""
    return config_files.load(ROOT / f"configs/{name}.py")


def shrink(config):
    """Makes a config so small that a step takes no time: one thin stack, few steps."""
    config.batch_size = 8
    config.data.resolution = 64
    config.model.update({"num_stacks": 1, "order": 1, "features": 8, "stem_features": 4})
    config.model.input_size = 64
    config.eval.update({"every_steps": 4, "batch_size": 8})
    config.checkpoint.every_steps = 2
    config.optimizer.name = "adam"  # Muon takes twice as long to compile
    config.num_steps = 8
    config.log_every_steps = 1
    return config


def small_synthetic(data_dir: pathlib.Path, *, train: int = 24, validation: int = 11):
    """configs/synthetic.py shrunk, with few people."""
    config = shrink(load_config("synthetic"))
    config.data.update(
        {"data_dir": str(data_dir), "num_train": train, "num_validation": validation}
    )
    return config


@pytest.fixture(scope="session")
def records(tmp_path_factory):
    """A folder for the records of `small_synthetic`."""
    return tmp_path_factory.mktemp("records")


@pytest.fixture(scope="session")
def finished(records, tmp_path_factory):
    """A short run that nothing disturbed: its workdir and what it returned."""
    from hourglass_jax.training import train

    workdir = tmp_path_factory.mktemp("finished") / "run"
    return workdir, train.train_and_evaluate(small_synthetic(records), workdir)


def make_predictions(skeleton, *, people=30, stacks=1, spread=5.0, reference=30.0):
    """Poses found `spread` px off records whose joints are partly not labelled, partly hidden."""
    from hourglass_jax.evaluation.predictions import Predictions
    from hourglass_jax.tasks.base import Instance

    rng = np.random.default_rng(0)
    joints = skeleton.num_joints
    truth = rng.integers(0, 800, (people, joints, 2)) / 8  # without rounding in any frame
    labelled = rng.random((people, joints)) < 0.9
    visible = labelled & (rng.random((people, joints)) < 0.7)
    found = truth + spread * rng.normal(size=(stacks, people, joints, 2))
    # A record has its own frame: here half as large, and moved.
    to_source = np.array([[2.0, 0, -3], [0, 2, 5]])
    records = [
        {
            "id": str(i),
            "joints_record": (truth[i] - to_source[:, 2]) / 2,
            "record_to_source": to_source,
            "labelled": labelled[i],
            "visible": visible[i],
            "reference": np.float32(reference),
        }
        for i in range(people)
    ]
    scores = np.ones(joints, np.float32)
    instances = [
        [[Instance(1.0, joints=person, joint_scores=scores)] for person in stack] for stack in found
    ]
    return Predictions(instances, records)


@pytest.fixture
def predictions():
    """30 people with LSP's joints, some not labelled, some hidden, predicted somewhat wrong."""
    from hourglass_jax.data.skeleton import LSP

    made = make_predictions(LSP)
    for record in made.truth:
        record["labelled"][3] = False  # nobody's left hip
    return made
