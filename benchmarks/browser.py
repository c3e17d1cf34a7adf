"""How large the web page is, how soon it finds the first pose, and how fast it follows a camera.

    npm ci --prefix web
    python -m hourglass_jax.interop.export --checkpoint=people-pose --output=runs/web/ --runtime=web
    python benchmarks/browser.py --site=runs/web

In headless Chromium on the processor: with one thread, as on servers that do not send the headers
for isolation, and with several. The camera is a video of one person who moves. Prints megabytes
compressed by gzip, seconds from an empty cache to the first pose, and frames a second.
"""

import argparse
import contextlib
import functools
import gzip
import http.server
import pathlib
import shutil
import statistics
import sys
import tempfile
import threading
import time

import cv2
import numpy as np
from playwright import sync_api

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from hourglass_jax.image import io
from hourglass_jax.interop import serve

PEOPLE = pathlib.Path(__file__).resolve().parent.parent / "docs/people"
IMAGE, PERSON = PEOPLE / "drawn.jpg", PEOPLE / "astronaut.jpg"
READY = "#file:enabled, #problem:not(:empty)"


class Plain(serve.Handler):
    """Serves without the headers for isolation, as GitHub Pages."""

    end_headers = http.server.SimpleHTTPRequestHandler.end_headers


@contextlib.contextmanager
def served(folder, handler):
    answer = functools.partial(handler, directory=str(folder))
    with http.server.ThreadingHTTPServer((serve.HOST, 0), answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{serve.HOST}:{server.server_port}/"
        server.shutdown()


def write_video(path, frames=60):
    """Writes a video of a person who moves to and fro, in the form of Chromium's fake camera."""
    person = cv2.resize(io.as_rgb(PERSON), (400, 400), interpolation=cv2.INTER_AREA)
    with path.open("wb") as file:
        file.write(b"YUV4MPEG2 W640 H480 F30:1 Ip A1:1 C420jpeg\n")
        for i in range(frames):
            frame = np.full((480, 640, 3), 120, np.uint8)
            left = round(120 + 100 * np.sin(2 * np.pi * i / frames))
            frame[40:440, left : left + 400] = person
            file.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).tobytes())


def compressed(folder):
    """Returns megabytes: the page with the runtime for processors, networks, WebGPU's runtime."""
    sizes = {"page and runtime": 0.0, "networks": 0.0, "WebGPU's runtime": 0.0}
    for path in folder.rglob("*.*"):
        webgpu = "webgpu" in path.name or "asyncify" in path.name
        kind = "networks" if path.suffix == ".onnx" else "WebGPU's runtime" if webgpu else None
        sizes[kind or "page and runtime"] += len(gzip.compress(path.read_bytes())) / 1e6
    return sizes


def first_pose(browser, address):
    """Returns seconds from an empty cache to the first pose."""
    page = browser.new_context().new_page()
    begin = time.perf_counter()
    page.goto(address)
    page.wait_for_selector(READY, state="attached")
    page.set_input_files("#file", IMAGE)
    page.wait_for_selector('#status:has-text("Done."), #problem:not(:empty)')
    seconds = time.perf_counter() - begin
    assert not page.inner_text("#problem"), page.inner_text("#problem")
    page.context.close()
    return seconds


def frames_a_second(browser, address, seconds):
    page = browser.new_context().new_page()
    page.goto(address)
    page.wait_for_selector(READY, state="attached")
    page.click("#camera")
    page.wait_for_selector('#rate:has-text("second")')
    rates = []
    for _ in range(seconds):
        page.wait_for_timeout(1000)
        rates.append(float(page.inner_text("#rate").split()[0]))
    page.context.close()
    return statistics.median(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--site", type=pathlib.Path, required=True, help="folder of the page")
    parser.add_argument("--repeats", type=int, default=3, help="times that the page is opened")
    parser.add_argument("--seconds", type=int, default=10, help="seconds of the camera")
    flags = parser.parse_args()
    for name, size in compressed(flags.site).items():
        print(f"{name}: {size:.2f} MB")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_api.sync_playwright() as playwright:
        video = pathlib.Path(folder, "camera.y4m")
        write_video(video)
        arguments = [
            "--no-sandbox",
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            f"--use-file-for-fake-video-capture={video}",
        ]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        for name, handler in (("one thread", Plain), ("several threads", serve.Handler)):
            with served(flags.site, handler) as address:
                firsts = [first_pose(browser, address) for _ in range(flags.repeats)]
                rate = frames_a_second(browser, address, flags.seconds)
            first = f"first pose after {min(firsts):.1f} to {max(firsts):.1f} s"
            print(f"{name}: {first}, {rate:.0f} frames a second")
        browser.close()


if __name__ == "__main__":
    main()
