"""Fetching published weights: only when asked, resumed where it stopped, and never trusted before it is verified."""

import hashlib
import http.client
import os
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from . import catalogue
from .errors import WeightsError, printable

CHUNK = 2**20


def download(name: str, folder=".", progress: Callable[[int, int | None], None] | None = None, *,
             base_url: str | None = None, attempts: int = 3, timeout: float = 30.0) -> Path:
    """Fetch the file of a catalogue entry ("resnet50", "resnet50:V2") into ``folder``; returns its path.

    Bytes collect in <file>.part, which a later call continues; the file takes its name once its SHA-256 is right.  A
    file that is already there and right is not fetched again.  ``progress(done, total)`` is called as bytes arrive.
    Raises WeightsError.
    """
    entry = catalogue.find(name)
    url = (base_url.rstrip("/") + "/" + entry.file) if base_url else entry.url
    if not url.startswith(("http://", "https://")):
        raise WeightsError(f"{url}: only http and https addresses are fetched")
    target = Path(folder) / entry.file
    part = target.with_name(f"{entry.file}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and verified(target, entry):
            return target
        fetch_all(url, part, entry, progress, attempts, timeout)
        os.replace(part, target)
    except OSError as error:
        raise WeightsError(f"{target}: cannot be written ({error.strerror or error})") from error
    return target


def verified(path, entry):
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest().startswith(entry.sha256_prefix)


def fetch_all(url, part, entry, progress, attempts, timeout):
    """Fetch until the part is the whole, right file; a part that turns out wrong is thrown away once."""
    for attempt in range(1, attempts + 1):
        try:
            fetch(url, part, 8 * entry.parameters + CHUNK, progress, timeout)
        except WeightsError as error:
            if attempt == attempts or not getattr(error, "passing", False):
                raise
            continue
        if verified(part, entry):
            return
        part.unlink()
        if attempt == attempts:
            break
    raise WeightsError(f"{url}: the bytes do not have the SHA-256 {entry.sha256_prefix}…; nothing was kept, try later")


def fetch(url, part, limit, progress, timeout):
    """Append what is missing to ``part``."""
    start = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urlopen(request, timeout=timeout)
    except HTTPError as error:
        if error.code == 416 and start:                          # nothing is behind the part's end
            return
        raise failure(f"{url}: the server answers {error.code} {printable(error.reason)}",
                      passing=error.code >= 500) from error
    except (OSError, http.client.HTTPException) as error:
        raise failure(f"{url}: cannot be fetched ({printable(getattr(error, 'reason', error))})") from error
    with response:
        start, total = position(response, start)
        if total is not None and total > limit:
            raise WeightsError(f"{url}: {total:,} bytes are offered, far more than the file has")
        done = copy(response, part, start, total, limit, progress)
    if total is not None and done < total:
        raise failure(f"{url}: the connection ended after {done:,} of {total:,} bytes; run it again to continue")


def failure(message, passing=True):
    """An error that another attempt may mend, if ``passing``."""
    error = WeightsError(message)
    error.passing = passing
    return error


def position(response, wanted):
    """(where the answer's bytes belong, the file's size): a server may ignore the range and start from 0."""
    length = response.headers.get("Content-Length", "")
    if response.status != 206:
        return 0, int(length) if length.isdecimal() else None
    span, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    if span.partition("-")[0] != str(wanted) or not total.isdecimal():
        raise WeightsError(f"{response.url}: the server answers with a range that was not asked for")
    return wanted, int(total)


def copy(response, part, start, total, limit, progress):
    """Write the answer into ``part`` from ``start`` on; returns the size reached."""
    done = start
    with open(part, "ab" if start else "wb") as file:
        while chunk := receive(response):
            done += len(chunk)
            if done > (limit if total is None else total):
                raise WeightsError(f"{response.url}: more bytes arrive than were announced")
            file.write(chunk)
            if progress:
                progress(done, total)
        file.flush()
        os.fsync(file.fileno())
    return done


def receive(response):
    try:
        return response.read(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise failure(f"{response.url}: broke off ({printable(error)}); run it again to continue") from error
