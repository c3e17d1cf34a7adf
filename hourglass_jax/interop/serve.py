"""Serves a folder on this machine alone, with the headers that WebAssembly needs for threads.

python -m hourglass_jax.interop.serve site/ --port=8000
"""

import functools
import http.server
import logging
import pathlib
import sys

from hourglass_jax.errors import UserError
from hourglass_jax.runtime import command_line as command
from hourglass_jax.runtime import preemption

logger = logging.getLogger("hourglass_jax.interop.serve")  # also if run as __main__
HOST = "127.0.0.1"


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files isolated from other sites, and always as they are now."""

    extensions_map = {  # the system's list may lack them
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args) -> None:
        pass


def server(folder: pathlib.Path, port: int) -> http.server.ThreadingHTTPServer:
    """Returns a server of a folder, whose `serve_forever` begins to answer.

    Args:
      folder: folder with an index.html.
      port: port to listen on; 0 takes a free one.

    Raises:
      UserError: there is no page in the folder, or the port is taken.
    """
    if not (folder / "index.html").is_file():
        raise UserError(f"{folder} has no index.html; give the folder of a web page")
    handler = functools.partial(Handler, directory=str(folder))
    try:
        return http.server.ThreadingHTTPServer((HOST, port), handler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"--port={port}: {reason}; choose another port") from None


def main(argv: list[str]) -> None:
    """Runs the command until it is stopped."""
    parser = command.Arguments(
        prog="python -m hourglass_jax.interop.serve",
        description="Serves the folder of a web page on this machine alone.",
    )
    parser.add_argument("folder", type=command.path_on_disk, help="folder of the page")
    parser.add_argument("--port", type=int, default=8000, help="port (default 8000)")
    flags = parser.parse_args(argv)
    with server(pathlib.Path(flags.folder), flags.port) as serving:
        logger.info("http://%s:%d/ shows the page; Ctrl-C ends", HOST, serving.server_port)
        serving.serve_forever()


def run() -> None:
    """Runs the command; exit status 2 for a user's mistake."""
    preemption.end_at_once(resumes=lambda: False)
    with command.reporting_errors():
        main(sys.argv[1:])


if __name__ == "__main__":
    run()
