"""Downloads images from the web: by https, up to a size and within a time.

Plain http is for this machine alone, where nobody listens in between, as in browsers.
"""

import io
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import IO

from hourglass_jax.errors import UserError

# Largest file that is downloaded, bytes, and the time that a download may take, s.
LARGEST, LONGEST = 64 * 2**20, 30.0
_CHUNK = 2**16
_HERE = ("localhost", "127.0.0.1", "::1")


def is_address(text: str) -> bool:
    """Returns whether a text is a web address, and not a path."""
    return text.lower().startswith(("https://", "http://"))


def download(address: str, *, largest: int = LARGEST, longest: float = LONGEST) -> io.BytesIO:
    """Returns the content of a file on the web.

    Args:
      address: address that begins with https://.
      largest: largest size, bytes.
      longest: longest time, s.

    Raises:
      UserError: the address is not one of https, nothing answers, the answer is an error, or it
        takes too long or is too large.
    """
    shown = address if len(address) <= 150 else f"{address[:147]}..."
    _check(address, shown)
    end = time.monotonic() + longest
    here = urllib.parse.urlsplit(address).hostname in _HERE
    proxies = [urllib.request.ProxyHandler({})] if here else []
    ask = urllib.request.build_opener(_Redirects(), *proxies).open
    request = urllib.request.Request(address, headers={"User-Agent": "hourglass_jax"})
    try:
        with ask(request, timeout=longest) as answer:
            announced = int(answer.headers.get("Content-Length") or 0)
            return _content(answer, announced, largest, end)
    except UserError as error:
        raise UserError(f"{shown} cannot be read ({error})") from None
    except urllib.error.HTTPError as error:
        reason = f"the server answers {error.code} {error.reason}"
    except TimeoutError:
        reason = f"no answer within {longest:.0f} s"
    except urllib.error.URLError as error:
        reason = _reason(error.reason, longest)
    except (OSError, ValueError) as error:
        reason = _reason(error, longest)
    raise UserError(f"{shown} cannot be read ({reason}); download it, and give the file")


def _check(address: str, shown: str) -> None:
    try:
        parts = urllib.parse.urlsplit(address)
        host = parts.hostname
    except ValueError:
        host, parts = None, None
    if not host or parts is None:
        raise UserError(f"{shown} is not a web address")
    if parts.scheme.lower() != "https" and host not in _HERE:
        raise UserError(
            f"{shown} is not encrypted; give an address that begins with https://, or download the "
            f"image, and give the file"
        )


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows an address to another one if that could have been given as well."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        _check(newurl, f"it leads to {newurl[:100]}, which")
        if urllib.parse.urlsplit(newurl).hostname in _HERE and req.host.split(":")[0] not in _HERE:
            raise UserError("it leads back to this machine")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _content(answer: IO[bytes], announced: int, largest: int, end: float) -> io.BytesIO:
    content = io.BytesIO()
    while announced <= largest and content.tell() <= largest:
        if time.monotonic() > end:
            raise TimeoutError
        chunk = answer.read1(_CHUNK)  # pyright: ignore[reportAttributeAccessIssue]
        if not chunk:
            if content.tell() < announced:
                raise UserError("the connection broke before the end; try again")
            content.seek(0)
            return content
        content.write(chunk)
    raise UserError(f"it has more than {largest / 2**20:.0f} MiB; download it, and give the file")


def _reason(error: object, longest: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {longest:.0f} s"
    if isinstance(error, socket.gaierror):
        return "there is no server of that name"
    text = getattr(error, "strerror", None) or getattr(error, "verify_message", None) or str(error)
    return " ".join(str(text).split())[:120] or type(error).__name__
