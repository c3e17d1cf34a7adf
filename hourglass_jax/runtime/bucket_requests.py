"""Requests to Google Cloud Storage: repeated within a bound, and failing with an OSError.

What may pass (429, 5xx, lost connections) is tried again for `PATIENCE` seconds, and is EIO then,
as of a disk that has failed. What stays wrong ends at once: EACCES and ENOENT.
"""

import concurrent.futures
import contextlib
import errno
import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from hourglass_jax.errors import UserError

try:
    import requests
    from google.api_core import exceptions
    from google.auth import exceptions as auth_exceptions
    from google.cloud import storage
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
    from google.cloud.storage.retry import DEFAULT_RETRY
except ImportError:
    raise UserError(
        'gs:// needs google-cloud-storage; install it with pip install "hourglass-jax[gcs]"'
    ) from None

PATIENCE = 60.0  # s
_TIMEOUT = (10, 60)  # s to connect, and between two pieces of an answer
_THREADS = 16  # requests at a time where there are many


@functools.cache
def client() -> Any:
    """Returns the client, with the credentials of this machine's user or account."""
    try:
        return storage.Client()
    except OSError:  # credentials without a project, of which objects need none
        os.environ["GOOGLE_CLOUD_PROJECT"] = "none"  # Orbax makes a client, too
        return storage.Client()


def request(path: Any, function: Callable[..., Any], *arguments, **options) -> Any:
    """Calls a function of the client.

    Args:
      path: path that it is about, for messages.
      function: function with the arguments `timeout` and `retry`.

    Raises:
      OSError: names the path; see above.
    """
    with errors(path):
        retry = DEFAULT_RETRY.with_delay(0.5, 10).with_timeout(PATIENCE)
        return function(*arguments, timeout=_TIMEOUT, retry=retry, **options)


def each(function: Callable[[Any], object], arguments: Iterable) -> None:
    """Calls a function for each argument, several at a time; raises the first error."""
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        for _ in threads.map(function, arguments):
            pass


@contextlib.contextmanager
def errors(path: Any) -> Iterator[None]:
    """Turns what the client raises into an OSError that names the path."""
    try:
        yield
    except (
        exceptions.GoogleAPIError,
        auth_exceptions.GoogleAuthError,
        requests.RequestException,
        DataCorruption,
        InvalidResponse,
    ) as error:
        raise _os_error(error, str(path)) from error


def _os_error(error: Exception, path: str) -> OSError:
    cause, bucket = error, "/".join(path.split("/")[:3])
    while isinstance(cause, exceptions.RetryError) and cause.cause is not None:
        cause = cause.cause
    text = " ".join(str(getattr(cause, "message", cause)).split())
    if (said := re.search(r'"message": *"([^"]+)', text)) is not None:
        text = said[1]
    text = text[-300:]
    if isinstance(cause, exceptions.NotFound):
        # What is about objects in general fails for want of the bucket.
        if re.search(r"/b/[^/]+/o(\?|:|$)|/b/[^/?]+(\?|:)", cause.message or ""):
            return FileNotFoundError(errno.ENOENT, "there is no such bucket", bucket)
        return FileNotFoundError(errno.ENOENT, "there is no such file", path)
    if isinstance(cause, (exceptions.Forbidden, exceptions.Unauthorized)):
        reason = f"the account has no rights there ({text})"
        return PermissionError(errno.EACCES, reason, path)
    if isinstance(cause, exceptions.PreconditionFailed):
        return FileExistsError(errno.EEXIST, "somebody else has written it", path)
    if isinstance(cause, auth_exceptions.GoogleAuthError) and not isinstance(
        cause, auth_exceptions.TransportError
    ):
        reason = f"there are no credentials ({text}); run gcloud auth application-default login"
        return PermissionError(errno.EACCES, reason, path)
    if isinstance(cause, (requests.RequestException, auth_exceptions.TransportError)):
        return OSError(errno.EIO, f"there is no connection to the bucket ({text})", path)
    status = getattr(getattr(cause, "response", None), "status_code", None)
    answer = f"only answers {status}" if status else f"fails ({text})"
    return OSError(errno.EIO, f"the bucket {answer}", path)
