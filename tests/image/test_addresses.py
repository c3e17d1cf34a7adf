"""Images from the web, served by the tests, and everything that can go wrong on the way."""

import http.server
import io
import threading
import time

import numpy as np
import pytest
from PIL import Image

from hourglass_jax.errors import UserError
from hourglass_jax.image import addresses
from hourglass_jax.image import io as photo


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.strip("/")
        if name in ("away", "back"):
            self.send_response(302)
            self.send_header("Location", "http://other.test/x.png" if name == "away" else "/good")
            self.end_headers()
            return
        if name == "missing":
            self.send_error(404)
            return
        pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        content = b"no image" if name == "text" else buffer.getvalue()
        self.send_response(200)
        if name in ("good", "cut", "large"):
            self.send_header("Content-Length", {"large": 10**9}.get(name, len(content)))
        self.end_headers()
        if name == "slow":
            self.wfile.write(content[:9])
            time.sleep(0.6)
        if name == "endless":
            content *= 100
        self.wfile.write(content[:20] if name == "cut" else content)

    def log_message(self, *unused):
        pass


@pytest.fixture(scope="module")
def address():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("name", ["good", "back", "unknown_length"])
def test_an_image_is_read(address, name):
    expected = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    np.testing.assert_array_equal(photo.as_rgb(f"{address}/{name}"), expected)


@pytest.mark.parametrize(
    ("name", "reason"),
    {
        "missing": "the server answers 404 Not Found",
        "cut": "the connection broke before the end",
        "large": r"it has more than 0 MiB; download it",
        "endless": r"it has more than 0 MiB; download it",
        "slow": "no answer within 0 s",
        "away": r"it leads to http://other.test/x.png, which is not encrypted",
    }.items(),
    ids=lambda value: value.split()[0],
)
def test_what_goes_wrong_is_one_sentence(address, name, reason):
    with pytest.raises(UserError, match=rf"{name} cannot be read \(.*{reason}") as error:
        addresses.download(f"{address}/{name}", largest=5000, longest=0.3)
    assert "\n" not in str(error.value)


def test_what_is_no_image_is_named(address):
    with pytest.raises(UserError, match=r"the image http.*/text cannot be read \(it is none of"):
        photo.as_rgb(f"{address}/text")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("http://other.test/x.png", "is not encrypted; give an address that begins with https"),
        ("https://", "is not a web address"),
        ("https://[x/y.png", "is not a web address"),
        ("https://127.0.0.1:9/x.png", r"\(Connection refused\); download it"),
    ],
)
def test_other_addresses_are_refused(given, reason):
    with pytest.raises(UserError, match=reason):
        photo.as_rgb(given)


def test_nobody_is_led_back_to_this_machine():
    request = addresses.urllib.request.Request("https://other.test/x")
    with pytest.raises(UserError, match="leads back to this machine"):
        addresses._Redirects().redirect_request(request, None, 302, "", {}, "http://localhost/")
