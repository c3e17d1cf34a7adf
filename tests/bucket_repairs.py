"""What `gcp-storage-emulator` lacks for the clients of `bucket_server.py`."""

import json
import re
from http import HTTPStatus


class Memory:
    """Contents of objects by name; the emulator's own takes "a/" and "a" for the same."""

    def __init__(self):
        self.files: dict[str, bytes] = {}

    def write_bytes(self, name, content):
        self.files[name] = content

    def read_bytes(self, name):
        if name not in self.files:
            raise FileNotFoundError(name)
        return self.files[name]

    def remove_file(self, name):
        if self.files.pop(name, None) is None:
            raise FileNotFoundError(name)

    def makedirs(self, name):
        pass


def name_in(path: str, body: bytes | None) -> str:
    """Returns "&name=" and the name of an object that is said in a request's body, or ""."""
    found = re.search(rb'"name": *"([^"]+)"', (body or b"")[:2000]) if "/upload/" in path else None
    return f"&name={found[1].decode()}" if found else ""


def content(handler, body: bytes | None, raw: bool):
    """Returns a request's content as the emulator reads it, but media as they are."""
    if raw:
        return body or b""
    if not body:
        return None
    kind = handler.headers.get("Content-Type") or ""
    if kind.startswith("application/json"):
        return json.loads(body)
    if kind.startswith("multipart/related"):
        return _related(kind, body)
    return body


def _related(kind: str, body: bytes) -> dict:
    """Returns the two parts of an upload; a parser of e-mail would change line ends."""
    boundary = re.search('boundary="?([^";]+)', kind)[1].strip("'").encode()
    _, about, content, _ = body.split(b"--" + boundary)
    about, content = (part.partition(b"\r\n\r\n") for part in (about, content))
    kind = re.search(rb"(?i)content-type: *([^\r]*)", content[0])
    return {
        "meta": json.loads(about[2]),
        "content": content[2].removesuffix(b"\r\n"),
        "content-type": kind[1].decode() if kind else "application/octet-stream",
    }


def between(listing: dict, query: dict) -> dict:
    """Returns a listing without names outside of what TensorStore asks for."""
    first, end = (query.get(name, [""])[0] for name in ("startOffset", "endOffset"))
    items = [
        item
        for item in listing["items"]
        if item["name"] >= first and (not end or item["name"] < end)
    ]
    return {**listing, "items": items}


def error(status: int) -> dict:
    message = HTTPStatus(status).phrase
    return {"error": {"code": int(status), "message": message, "errors": [{"message": message}]}}
