"""A headless Chromium, and a server of pages, for tests."""

import contextlib
import pathlib
import shutil
import threading

import pytest

from hourglass_jax.interop import serve, web_page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@contextlib.contextmanager
def chromium():
    """Yields a function of flags that starts a browser; skips the test where there is none."""
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium is installed; on Debian: apt install chromium")
    with api.sync_playwright() as playwright:

        def launch(*flags):
            arguments = ["--no-sandbox", *flags]
            return playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)

        yield launch


@contextlib.contextmanager
def served(folder):
    """Yields the address of a folder."""
    with serve.server(folder, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{serve.HOST}:{server.server_port}/"
        server.shutdown()


@contextlib.contextmanager
def sources():
    """Yields a function that opens a page from which the modules can be imported."""
    with chromium() as launch, served(web_page.SOURCES) as address:
        browser = launch()

        def opened():
            page = browser.new_page()
            page.goto(f"{address}page.css")
            return page

        yield opened


def call(page, module, expression, *values):
    """Returns an expression of the exports of a module, `m`, and of `values`."""
    program = (
        f"async (values) => {{ const m = await import('/{module}.js'); return {expression}; }}"
    )
    return page.evaluate(program, list(values))


def opened(browser, address, **options):
    """Returns the page when it is ready, and a list of what it complains of."""
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(120_000)  # milliseconds; other programs may keep the machine busy
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#file:enabled, #problem:not(:empty)", state="attached")
    return page, complaints


def choose(page, file):
    """Chooses a file, and returns the problem that the page names, or ""."""
    page.set_input_files("#file", file)
    # The status changes at once, and again when the image is done.
    page.wait_for_selector('#status:has-text("Done."), #problem:not(:empty)')
    return page.inner_text("#problem")


def saved(page, kind):
    if page.is_disabled(f"#{kind}"):
        return None
    with page.expect_download() as download:
        page.click(f"#{kind}")
    return pathlib.Path(download.value.path()).read_bytes().decode()
