"""Fetching published weights: only when asked, resumed where it stopped, and never trusted before it is verified."""

import hashlib
import http.client
import os
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request

from ..formats.errors import WeightsError, printable
from ..formats.limits import open_file
from . import catalogue
from .connection import connections, scheme_of
from .part import own

CHUNK = 2**20


def download(name: str, folder=".", progress: Callable[[int, int | None], None] | None = None, *,
             base_url: str | None = None, attempts: int = 3, timeout: float = 30.0,
             total_timeout: float = 4 * 3600.0) -> Path:
    """Fetch the file of a catalogue entry ("resnet50", "resnet50:V2") into ``folder``; returns its path.

    Bytes collect in <file>.part, which a later call continues; the file takes its name once its SHA-256 is right.  Of
    some published files only the first eight hex digits of it are known (``find(name).sha256`` is empty): against
    those a damaged file is detected, a forged one is not.  A file that is already there and right is not fetched again.
    ``progress(done, total)`` is called as bytes arrive.  ``timeout`` bounds each wait for the server,
    ``total_timeout`` the whole, in seconds.  A redirection never leads from https to anything else.
    Raises WeightsError.
    """
    entry = catalogue.find(name)
    url = (base_url.rstrip("/") + "/" + entry.file) if base_url else entry.url
    scheme_of(url)
    target = Path(folder) / entry.file
    part = target.with_name(f"{entry.file}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and verified(target, entry):
            return target
        with own(part) as file, connections(total_timeout) as made:
            fetch_all(url, file, entry, progress, attempts, timeout, made)
        os.replace(part, target)
    except OSError as error:
        raise WeightsError(f"{target}: cannot be written ({error.strerror or error})") from error
    return target


def verified(path, entry):
    with open_file(path) as file:
        return matches(file, entry)


def matches(file, entry):
    """Whether an open file's bytes have the entry's SHA-256, as far as that is known."""
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest().startswith(entry.sha256_prefix)


def fetch_all(url, file, entry, progress, attempts, timeout, made):
    """Fetch until the part is the whole, right file; a part that turns out wrong is thrown away once."""
    for attempt in range(1, attempts + 1):
        try:
            fetch(url, file, 8 * entry.parameters + CHUNK, progress, timeout, made)
        except WeightsError as error:
            if made.over:
                raise WeightsError(f"{url}: takes longer than the time that it was given (total_timeout); run it again "
                                   "to continue") from error
            if attempt == attempts or not getattr(error, "passing", False):
                raise
            continue
        if matches(file, entry):
            return
        file.truncate(0)
        if attempt == attempts:
            break
    raise WeightsError(f"{url}: the bytes do not have the SHA-256 {entry.sha256_prefix}…; nothing was kept, try later")


def fetch(url, file, limit, progress, timeout, made):
    """Append what is missing to the part."""
    start = file.seek(0, os.SEEK_END)
    try:
        request = Request(url, headers={"Range": f"bytes={start}-"} if start else {})
        response = made.opener().open(request, timeout=timeout)
    except HTTPError as error:
        if error.code == 416 and start:                          # nothing is behind the part's end
            return
        raise failure(f"{url}: the server answers {error.code} {printable(error.reason)}",
                      passing=error.code >= 500) from error
    except WeightsError:
        raise
    except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
        raise failure(f"{printable(url)}: cannot be fetched ({printable(getattr(error, 'reason', error))})") from error
    with response:
        start, total = position(response, start)
        if total is not None and total > limit:
            raise WeightsError(f"{url}: {total:,} bytes are offered, far more than the file has")
        done = copy(response, file, start, total, limit, progress, made)
    if total is not None and done < total:
        raise failure(f"{url}: the connection ended after {done:,} of {total:,} bytes; run it again to continue")


def failure(message, passing=True):
    """An error that another attempt may mend, if ``passing``."""
    error = WeightsError(message)
    error.passing = passing
    return error


def position(response, wanted):
    """(where the answer's bytes belong, the file's size): a server may ignore the range and start from 0."""
    if response.status != 206:
        return 0, count(response.headers.get("Content-Length", ""))
    span, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    if span.partition("-")[0] != str(wanted) or count(total) is None:
        raise WeightsError(f"{response.url}: the server answers with a range that was not asked for")
    return wanted, count(total)


def count(digits):
    """The number that a header spells, or None."""
    return int(digits) if digits.isdecimal() and len(digits) < 20 else None


def copy(response, file, start, total, limit, progress, made):
    """Write the answer into the part from ``start`` on; returns the size reached."""
    done = start
    file.truncate(start)
    file.seek(start)
    while chunk := receive(response):
        done += len(chunk)
        if done > (limit if total is None else total):
            raise WeightsError(f"{response.url}: more bytes arrive than were announced")
        file.write(chunk)
        if progress:
            progress(done, total)
        if made.over:
            raise failure(f"{response.url}: broke off")
    file.flush()
    os.fsync(file.fileno())
    return done


def receive(response):
    """What has arrived: waiting for a whole chunk would let a slow server outlast any timeout."""
    try:
        return response.read1(CHUNK)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise failure(f"{response.url}: broke off ({printable(error)}); run it again to continue") from error
