"""The report as a browser shows it: nothing missing, nothing wider than the screen."""

import shutil

import pytest
from test_report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium is installed; on Debian: apt install chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_a_report_is_readable(browser, tmp_path, predictions, width):
    path = write_report(tmp_path, predictions)
    page = browser.new_page(viewport={"width": width, "height": 800})
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    assert not complaints
    # It is one file: whatever else it asked for would be missing elsewhere.
    assert path.as_uri() in requests
    assert all(url == path.as_uri() or url.startswith("data:") for url in requests)
    assert page.evaluate("[...document.images].map(i => i.complete && i.naturalWidth)") == [40]
    widths = "[document.documentElement, ...document.querySelectorAll('.wide')].map(e =>"
    assert page.evaluate(f"{widths} e.scrollWidth <= Math.ceil(e.clientWidth))") == [True, True]
    # Letters in pictures shrink with these: 9 px can still be read.
    sizes = page.evaluate(
        "[...document.querySelectorAll('svg text, td, th, p, summary')].map(e =>"
        " parseFloat(getComputedStyle(e).fontSize) *"
        " (e.ownerSVGElement ? e.ownerSVGElement.getScreenCTM().a : 1))"
    )
    assert len(sizes) > 50 and min(sizes) >= 9
    page.click("summary")
    assert page.is_visible("details pre")
