"""The page in headless Chromium, with the networks of the package: it finds what Python finds.

Needs the runtime (`npm ci --prefix web`), and takes a minute or two.
"""

import json
import re

import browsers
import cv2
import numpy as np
import pytest
import small_networks
from browsers import choose, opened, saved
from conftest import ROOT, SHARED
from PIL import Image

from hourglass_jax import PoseEstimator
from hourglass_jax.errors import UserError
from hourglass_jax.image import io
from hourglass_jax.interop import web_page

pytestmark = pytest.mark.slow

NPM = ROOT / "web"
PEOPLE = sorted((ROOT / "docs/people").glob("*.jpg"))
EXIF = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page") / "site"
    try:
        web_page.export("lsp-small", folder, runtime=str(NPM))
    except UserError as error:
        if "ONNX Runtime Web" in str(error) or "--runtime" in str(error):
            pytest.skip(f"{error}")
        raise
    return folder


@pytest.fixture(scope="module")
def address(site):
    with browsers.served(site) as address:
        yield address


@pytest.fixture(scope="module")
def launch():
    with browsers.chromium() as launch:
        yield launch


@pytest.fixture(scope="module")
def browser(launch):
    return launch()


@pytest.fixture(scope="module")
def estimator():
    return PoseEstimator.from_checkpoint("lsp-small")


@pytest.fixture(scope="module")
def ready(browser, address):
    page, complaints = opened(browser, address, viewport={"width": 1280, "height": 900})
    yield page
    assert not complaints
    page.context.close()


def compare(page, estimator, path):
    """Compares the page with the package; returns distances of joints [people, K], px."""
    assert choose(page, path) == ""
    entries, poses = json.loads(saved(page, "json") or "[]"), estimator(path)
    assert len(entries) == len(poses.boxes)
    if not entries:
        return np.zeros_like(poses.scores)
    found = np.array([entry["keypoints"] for entry in entries]).reshape(*poses.scores.shape, 3)
    np.testing.assert_allclose([entry["bbox"] for entry in entries], poses.boxes, atol=1)
    np.testing.assert_allclose(found[..., 2], poses.scores, atol=0.01)
    return np.abs(found[..., :2] - poses.joints).max(-1)


@pytest.mark.parametrize("path", PEOPLE, ids=lambda path: path.stem)
def test_people_are_those_of_the_package(ready, estimator, path):
    apart = compare(ready, estimator, path)
    assert len(apart) == {"drawn": 3, "astronaut": 1}[path.stem] and apart.max() < 0.5
    assert ready.locator("#table tbody tr").count() == len(apart)
    assert (saved(ready, "csv") or "").count("\r\n") == 1 + apart.size


def test_photographs(ready, estimator):
    folder = SHARED / "data/coco_people/images"
    paths = [*sorted(folder.glob("*.jpg"))[3:150:16], *SHARED.glob("data/exif/Portrait_[68].jpg")]
    if not paths:
        pytest.skip(f"no photographs in {folder}")
    apart = np.concatenate([compare(ready, estimator, path) for path in paths])
    assert len(paths) == 12 and len(apart) > 15
    # Of two peaks that are equally high either may be chosen.
    assert np.median(apart) < 0.05 and np.mean(apart < 0.5) >= 0.99, np.sort(apart.ravel())[-5:]


@pytest.mark.parametrize("orientation", EXIF)
def test_the_orientation_of_cameras_is_followed(ready, estimator, tmp_path, orientation):
    with Image.open(PEOPLE[1]) as image:
        turned = image.transpose(EXIF[orientation]) if EXIF[orientation] else image.copy()
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned_{orientation}.jpg"
    turned.save(path, quality=95, exif=exif)
    assert len(compare(ready, estimator, path)) == 3


def test_transparent_pixels_are_white(ready, estimator, tmp_path):
    pixels = io.as_rgb(PEOPLE[1])
    alpha = np.full((*pixels.shape[:2], 1), 255, np.uint8)
    alpha[:, :20] = 0
    path = tmp_path / "transparent.png"
    Image.fromarray(np.concatenate([pixels, alpha], axis=2)).save(path)
    compare(ready, estimator, path)


def test_bad_files_are_named_in_a_sentence(ready, tmp_path):
    text = tmp_path / "<img src=x onerror=alert(1)>.txt"
    text.write_text("not an image")
    problem = choose(ready, text)
    assert problem.startswith(f"{text.name} is not an image that this browser can read; choose a")
    assert ready.locator("#problem img").count() == 0
    large = tmp_path / "large.png"
    Image.new("1", (10_000, 10_000)).save(large)
    assert "large.png has 100 megapixels, and this page takes at most 50" in choose(ready, large)
    assert choose(ready, PEOPLE[1]) == ""  # it goes on


def test_thresholds_change_what_is_shown(ready):
    assert choose(ready, PEOPLE[1]) == ""
    ready.locator("#min-joint-score").focus()
    for _ in range(20):
        ready.keyboard.press("ArrowRight")
    assert ready.inner_text("#joint-score output") == "0.95"
    assert ready.locator("#table td:nth-child(3)").first.inner_text().startswith(("0", "1", "2"))
    ready.locator("#min-joint-score").fill("0.1")
    ready.locator("#min-box-score").fill("0.95")
    ready.wait_for_selector('#count:has-text("nobody was found")')
    ready.locator("#min-box-score").fill("0.3")
    ready.wait_for_selector('#count:has-text("3 people")')


def test_images_can_be_pasted_and_dropped(ready):
    assert choose(ready, PEOPLE[0]) == ""
    content = list(PEOPLE[1].read_bytes())
    for name in ("paste", "drop"):
        ready.evaluate(
            """([name, content]) => {
              const data = new DataTransfer();
              data.items.add(new File([new Uint8Array(content)], `${name}.jpg`));
              const options = { bubbles: true, cancelable: true };
              document.dispatchEvent(name === "paste"
                ? new ClipboardEvent(name, { ...options, clipboardData: data })
                : new DragEvent(name, { ...options, dataTransfer: data }));
            }""",
            [name, content],
        )
        ready.wait_for_selector(f'#count:has-text("{name}.jpg: 3 people")')


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_phones_and_desktops(browser, address, width, scheme):
    size = {"width": width, "height": 800}
    page, complaints = opened(browser, address, viewport=size, color_scheme=scheme)
    assert choose(page, PEOPLE[0]) == ""
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = "[...document.querySelectorAll('button, .button')].map(e => e.offsetHeight)"
    assert min(page.evaluate(small)) >= 44
    named = (
        "[...document.querySelectorAll('input, button')].every(e => e.labels.length || e.innerText)"
    )
    assert page.evaluate(named)
    colours = page.evaluate("[document.body.style, getComputedStyle(document.documentElement)]"
                            ".map(s => s.color + s.backgroundColor)")  # fmt: skip
    dark = "rgb(22, 24, 28)" in colours[1]
    assert dark == (scheme == "dark") and not complaints
    page.context.close()


def test_it_works_offline_afterwards(browser, address):
    page, complaints = opened(browser, address)
    page.context.set_offline(True)
    page.reload()
    page.wait_for_selector("#file:enabled, #problem:not(:empty)", state="attached")
    assert choose(page, PEOPLE[1]) == ""
    assert page.inner_text("#count") == "drawn.jpg: 3 people."
    assert not [text for text in complaints if "ERR_INTERNET_DISCONNECTED" not in text]
    page.context.close()


def test_nothing_is_asked_of_other_machines(browser, address):
    context = browser.new_context()
    requests = []
    context.on("request", lambda request: requests.append((request.method, request.url)))
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("#file:enabled", state="attached")
    choose(page, PEOPLE[1])
    assert all(method == "GET" for method, _ in requests)
    assert all(url.startswith((address, f"blob:{address}")) for _, url in requests)
    assert not [url for _, url in requests if "webgpu" in url or "asyncify" in url]
    context.close()


def write_video(path, frames=40):
    """Writes a video of a person who moves from left to right."""
    person = cv2.resize(io.as_rgb(PEOPLE[0]), (360, 360), interpolation=cv2.INTER_AREA)
    with path.open("wb") as file:
        file.write(b"YUV4MPEG2 W640 H480 F20:1 Ip A1:1 C420jpeg\n")
        for i in range(frames):
            frame = np.full((480, 640, 3), 120, np.uint8)
            left = round(20 + 240 * i / frames)
            frame[60:420, left : left + 360] = person
            file.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).tobytes())


def test_a_camera_is_followed(launch, address, tmp_path):
    write_video(tmp_path / "camera.y4m")
    flags = (*CAMERA, f"--use-file-for-fake-video-capture={tmp_path}/camera.y4m")
    with launch(*flags) as browser:
        page, complaints = opened(browser, address)
        places = []
        for i in range(6):
            page.click("#camera")
            page.wait_for_selector('#rate:has-text("second")')
            # Longer each time, as otherwise it might be in step with the video, which repeats.
            page.wait_for_timeout(300 + 300 * i)
            assert float(page.inner_text("#rate").split()[0]) > 1
            page.click("#camera")
            page.wait_for_selector('#status:has-text("Done.")')
            (entry,) = json.loads(saved(page, "json"))
            places.append(entry["keypoints"][3 * 12 :: 3])
        neck, head = np.array(places).T
        # Both are where the person was when the camera was stopped.
        assert np.ptp(head) > 50 and np.ptp(neck - head) < 25
        assert page.inner_text("#count") == "camera: one person."
        assert not complaints


def test_what_a_browser_lacks_is_said(browser, address):
    page, complaints = opened(browser, address, permissions=["camera"])
    assert "on the processor, as WebGPU finds no graphics card." in page.inner_text("#device")
    page.click("#camera")
    page.wait_for_selector("#problem:not(:empty)")
    assert page.inner_text("#problem") == "There is no camera."
    page.add_init_script("delete globalThis.WebAssembly")
    page.reload()
    page.wait_for_selector("#problem:not(:empty)")
    assert "has no WebAssembly, which the networks need; use" in page.inner_text("#problem")
    assert page.is_disabled("#camera") and not complaints
    page.context.close()


def test_boxes_alone_are_shown(browser, tmp_path):
    web_page.export("people-small", tmp_path / "site", runtime=str(NPM))
    with browsers.served(tmp_path / "site") as address:
        page, complaints = opened(browser, address)
        assert choose(page, PEOPLE[1]) == ""
        entries = json.loads(saved(page, "json"))
        assert entries and {entry["category"] for entry in entries} == {"person"}
        assert re.match("image,object,category,score,x,y", saved(page, "csv"))
        assert page.is_hidden("#joint-score") and page.is_visible("#box-score")
        assert not complaints
        page.context.close()


def test_a_network_of_ones_own(browser, tmp_path):
    """One of other joints and sizes, for which an image shows one of what it knows."""
    workdir = small_networks.save(tmp_path / "run", small_networks.poses(), "stacked_hourglass")
    web_page.export(str(workdir), tmp_path / "site", runtime=str(NPM))
    with browsers.served(tmp_path / "site") as address:
        page, complaints = opened(browser, address)
        apart = compare(page, PoseEstimator.from_checkpoint(workdir), PEOPLE[0])
        assert apart.shape == (1, 2) and apart.max() < 0.5
        assert page.inner_text("#device").startswith("Networks: run. ")
        assert page.is_hidden("#box-score") and not complaints
        page.context.close()


def test_drawings_that_cannot_be_decoded_are_named(ready, tmp_path):
    path = tmp_path / "drawing.svg"
    path.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"/>')
    assert choose(ready, path).startswith("This browser cannot decode the image; save it as JPEG")
