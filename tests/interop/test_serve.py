"""Pages are served to this machine alone, with the headers that threads need."""

import threading
import urllib.request

import pytest

from hourglass_jax.errors import UserError
from hourglass_jax.interop import serve


def test_a_page_is_served_with_its_types_and_isolated(tmp_path):
    for name in ("index.html", "page.js", "x.mjs", "x.wasm"):
        (tmp_path / name).write_text(name)
    with serve.server(tmp_path, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert server.server_address[0] == "127.0.0.1"
        types = {}
        for name in ("", "page.js", "x.mjs", "x.wasm"):
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/{name}") as answer:
                assert answer.read().decode() == (name or "index.html")
                assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
                assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
                types[name] = answer.headers.get_content_type()
        with pytest.raises(UserError, match=f"--port={server.server_port}: .*in use.*another port"):
            serve.server(tmp_path, server.server_port)
        server.shutdown()
    assert types["page.js"] == types["x.mjs"] == "text/javascript"
    assert types["x.wasm"] == "application/wasm"


def test_what_cannot_be_served(tmp_path):
    with pytest.raises(UserError, match=r"has no index\.html; give the folder of a web page"):
        serve.main([str(tmp_path)])
    (tmp_path / "index.html").write_text("")
    with pytest.raises(UserError, match=r"--port=70000: .*; choose another port"):
        serve.main([str(tmp_path), "--port=70000"])
