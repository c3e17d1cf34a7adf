"""A bucket on 127.0.0.1, for tests of gs:// paths: `gcp-storage-emulator`, with repairs.

    with bucket_server.Bucket("photos") as bucket:
        subprocess.run(command, env={**os.environ, **bucket.environment})
        bucket.fail("PUT|POST", "checkpoints", status=503, times=3)

One port serves the three clients: TensorStore and google-cloud-storage speak HTTP to the address
that they find in the environment. TensorFlow's has no variable for it, but sends everything
through `https_proxy`: the server answers CONNECT, and speaks TLS with the certificate of a CA of
the test as if it were Google.
"""

import contextlib
import http.server
import json
import pathlib
import re
import socket
import ssl
import tempfile
import threading
import urllib.parse
from http import HTTPStatus

import bucket_repairs as repairs
import pytest
import trustme
from gcp_storage_emulator import server as emulator
from gcp_storage_emulator.handlers import objects
from gcp_storage_emulator.storage import Storage

from hourglass_jax.runtime import bucket_requests

_HOSTS = ("storage.googleapis.com", "www.googleapis.com", "oauth2.googleapis.com")


class Fault:
    """What goes wrong with requests of a method and path.

    Attributes:
      left: how many requests more it hits.
      hit: how many it has hit.
    """

    def __init__(self, methods: str, path: str, status: int | None, times: float):
        self._methods, self._path = re.compile(methods), re.compile(path)
        self.status, self.left, self.hit = status, times, 0

    def hits(self, method: str, path: str) -> bool:
        found = self._methods.fullmatch(method) and self._path.search(urllib.parse.unquote(path))
        if self.left <= 0 or not found:
            return False
        self.left -= 1
        self.hit += 1
        return True


class Bucket:
    """A bucket that exists as long as the context.

    Attributes:
      name: name of the bucket.
      url: "gs://" and the name.
      environment: variables by which clients find the server.
      requests: methods and paths of the requests so far.
    """

    def __init__(self, name: str = "bucket"):
        self.name, self.url = name, f"gs://{name}"
        self.requests: list[tuple[str, str]] = []
        self._faults: list[Fault] = []
        self._storage = Storage(use_memory_fs=True)
        self._storage._store = repairs.Memory()
        self._storage._write_config_to_file = lambda: None  # it grows with the number of objects
        self._storage.create_bucket(
            name, {"name": name, "kind": "storage#bucket", "softDeletePolicy": _NO_SOFT_DELETE}
        )
        authority = trustme.CA()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*_HOSTS).configure_cert(self._tls)
        self._folder = tempfile.TemporaryDirectory()
        certificate = pathlib.Path(self._folder.name, "ca.pem")
        authority.cert_pem.write_to_path(str(certificate))
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        address = f"http://127.0.0.1:{self._server.server_port}"
        self.environment = {
            "TENSORSTORE_GCS_HTTP_URL": address,
            "STORAGE_EMULATOR_HOST": address,
            "https_proxy": address,
            "no_proxy": "localhost,127.0.0.1",  # as processes of JAX reach each other
            "CURL_CA_BUNDLE": str(certificate),
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "token",
            "NO_GCE_CHECK": "true",
            "GOOGLE_CLOUD_PROJECT": "test",
        }

    def __enter__(self) -> "Bucket":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *unused):
        self._server.shutdown()
        self._server.server_close()
        self._folder.cleanup()

    def names(self) -> list[str]:
        """Returns the names of all objects."""
        return sorted(self._storage.objects.get(self.name, {}))

    def read(self, name: str) -> bytes:
        return self._storage.get_file(self.name, name)

    def write(self, name: str, content: bytes) -> None:
        made = objects._make_object_resource("", self.name, name, None, str(len(content)))
        with self._lock:
            made = objects._checksums(content, made)
            self._storage.create_file(self.name, name, content, made)

    def delete(self, name: str) -> None:
        with self._lock:
            self._storage.delete_file(self.name, name)

    def clear(self) -> None:
        """Deletes everything."""
        for name in self.names():
            self.delete(name)

    def upload(self, folder: pathlib.Path, prefix: str) -> None:
        """Writes the files of a folder, under names that begin with `prefix`."""
        for path in folder.rglob("*"):
            if path.is_file():
                self.write(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def fail(self, methods: str, path: str, *, status: int | None, times: float = 1) -> Fault:
        """Lets requests fail from now on.

        Args:
          methods: regular expression of the methods.
          path: regular expression of a part of the path and query, without escapes, with `&name=`
            and the name of what is uploaded at the end.
          status: answer; None: none, the connection is closed.
          times: number of requests; may be infinite.
        """
        self._faults.append(Fault(methods, path, status, times))
        return self._faults[-1]

    def recover(self) -> None:
        """Ends all faults."""
        self._faults.clear()

    def fault_of(self, method: str, path: str) -> Fault | None:
        with self._lock:
            self.requests.append((method, path))
            return next((fault for fault in self._faults if fault.hits(method, path)), None)

    def version(self, name: str | None) -> int:
        """Returns the generation of an object, 0 for one that does not exist."""
        return int(self._storage.objects.get(self.name, {}).get(name, {}).get("generation", 0))

    def refuses(self, query: dict, name: str | None) -> HTTPStatus | None:
        """Returns the answer to a request whose precondition does not hold."""
        version = self.version(name)
        if int(query.get("ifGenerationMatch", [version])[0]) != version:
            return HTTPStatus.PRECONDITION_FAILED
        if int(query.get("ifGenerationNotMatch", [-1])[0]) == version:
            return HTTPStatus.NOT_MODIFIED
        return None


@contextlib.contextmanager
def reached():
    """Yields a bucket that the clients of this process find."""
    with Bucket() as bucket, pytest.MonkeyPatch.context() as patch:
        for variable, value in bucket.environment.items():
            patch.setenv(variable, value)
        bucket_requests.client.cache_clear()
        yield bucket
    bucket_requests.client.cache_clear()


_NO_SOFT_DELETE = {"retentionDurationSeconds": 0}


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads, block_on_close, request_queue_size = True, False, 128

    def handle_error(self, request, client_address):
        pass  # clients that were killed


def _handler(bucket: Bucket) -> type:
    class Handler(emulator.RequestHandler):
        protocol_version = "HTTP/1.1"
        secure = False

        def __init__(self, *arguments):
            super().__init__(bucket._storage, *arguments)

        def do_CONNECT(self):  # noqa: N802
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self.connection = bucket._tls.wrap_socket(self.request, server_side=True)
            self.rfile = self.connection.makefile("rb", -1)
            self.wfile = self.connection.makefile("wb", 0)
            self.secure, self.close_connection = True, False

        def respond(self, method: str):
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                del self.headers["Content-Length"]  # TensorFlow's client sends both
            self.body = emulator._read_raw_data(self)
            fault = bucket.fault_of(method, self.path + repairs.name_in(self.path, self.body))
            if fault is None:
                with bucket._lock:
                    response = self.handled(method)
                response.close()
            elif fault.status is not None:
                self.answer(fault.status, repairs.error(fault.status))
            else:
                self.close_connection = True
                with contextlib.suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)

        def answer(self, status: int, content: dict):
            text = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def handled(self, method: str) -> emulator.Response:
            response = emulator.Response(self)
            url = urllib.parse.urlsplit(self.path)
            query = urllib.parse.parse_qs(url.query)
            if url.path.endswith("/storageLayout"):
                response.json({"kind": "storage#storageLayout", "bucket": bucket.name})
                return response
            uploads = query.get("uploadType", query.get("upload_id"))
            for regex, handlers in emulator.HANDLERS:
                # Names may end in "/".
                match = re.fullmatch(regex.replace(".*[^/]+)", ".+)"), url.path)
                if match and method in handlers:
                    break
            else:
                response.status = HTTPStatus.NOT_FOUND
                return response
            request = emulator.Request(self, method)
            request._base_url = request._base_url.replace(
                "http", "https" if self.secure else "http"
            )
            request._full_url = request._base_url + self.path
            request.set_match(match)
            name = request.params.get("dest_object_id") or request.params.get("object_id")
            named = (query.get("name") or [name])[0]
            raw = uploads in (["media"],) or "upload_id" in query
            request._data = repairs.content(self, self.body, raw)
            if not raw and isinstance(request._data, dict) and uploads:
                named = (query.get("name") or [request._data.get("name")])[0]
                named = request._data.get("meta", {}).get("name", named)
            refused = bucket.refuses(query, named)
            if refused is not None:
                response.status = refused
                if refused != HTTPStatus.NOT_MODIFIED:
                    response.json(repairs.error(refused))
                return response
            handlers[method](request, response, bucket._storage)
            if method == "GET" and "object_id" in request.params:
                response["x-goog-generation"] = str(bucket.version(named))
            if handlers[method] is objects.ls and response.status == 200:
                response.json(repairs.between(json.loads(response._content), query))
            if response.status >= 400 and not response._content:
                response.json(repairs.error(response.status))
            return response

    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", lambda self, method=method: self.respond(method))
    return Handler
