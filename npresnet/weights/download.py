"""Downloads published weights and datasets, resumes where it stopped, and keeps nothing whose SHA-256 is wrong."""

import hashlib
import http.client
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias
from urllib.error import HTTPError
from urllib.request import Request

from ..formats.errors import WeightsError, printable
from ..formats.limits import open_file
from . import catalogue
from .connection import Connections, connections, scheme_of
from .partial_file import open_partial

CHUNK = 2**20
Published: TypeAlias = catalogue.Entry | catalogue.DatasetEntry
Progress = Callable[[int, int | None], None] | None  # called with (bytes so far, bytes in all)


def download(
    name: str,
    folder: str | os.PathLike[str] = ".",
    progress: Progress = None,
    *,
    base_url: str | None = None,
    attempts: int = 3,
    timeout: float = 30.0,
    total_timeout: float = 4 * 3600.0,
) -> Path:
    """Fetch the file of a catalogue entry ("resnet50", "resnet50:V2", "cifar10") into ``folder``; returns its path.

    Bytes collect in <file>.part, which a later call continues; the file takes its name once its SHA-256 is right.  Of
    some published files only the first eight hex digits of it are known (``find(name).sha256`` is empty): against
    those a damaged file is detected, a forged one is not.  A file that is already there and right is not fetched again.
    ``progress(done, total)`` is called as bytes arrive.  ``timeout`` bounds each wait for the server,
    ``total_timeout`` the whole, in seconds.  A redirection never leads from https to anything else.
    Raises WeightsError.
    """
    entry = catalogue.find_file(name)
    url = (base_url.rstrip("/") + "/" + entry.file) if base_url else entry.url
    scheme_of(url)
    target = Path(folder) / entry.file
    part = target.with_name(f"{entry.file}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and verified(target, entry):
            return target
        with open_partial(part) as file, connections(total_timeout) as made:
            fetch_all(url, file, entry, progress, attempts, timeout, made)
        os.replace(part, target)
    except OSError as error:
        raise WeightsError(
            f"{target}: cannot be written ({error.strerror or error}); choose another folder, or make room"
        ) from error
    return target


def verified(path: str | os.PathLike[str], entry: Published) -> bool:
    """Whether a file's bytes have the entry's SHA-256, as far as that is known."""
    with open_file(path) as file:
        return matches(file, entry)


def matches(file: BinaryIO, entry: Published) -> bool:
    """The same of an open file."""
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest().startswith(entry.sha256_prefix)


class TransientError(WeightsError):
    """A failure of the server or the network that another attempt may not meet."""


def fetch_all(
    url: str, file: BinaryIO, entry: Published, progress: Progress, attempts: int, timeout: float, made: Connections
) -> None:
    """Fetch until the part is complete and right; a part that turns out wrong is emptied and fetched again."""
    for attempt in range(1, attempts + 1):
        try:
            fetch(url, file, entry.largest, progress, timeout, made)
        except WeightsError as error:
            if made.expired:
                raise WeightsError(
                    f"{url}: takes longer than the time that it was given (total_timeout); run it again to continue"
                ) from error
            if attempt == attempts or not isinstance(error, TransientError):
                raise
            continue
        if matches(file, entry):
            return
        file.truncate(0)
        if attempt == attempts:
            break
    raise WeightsError(f"{url}: the bytes do not have the SHA-256 {entry.sha256_prefix}…; nothing was kept, try later")


def fetch(url: str, file: BinaryIO, limit: int, progress: Progress, timeout: float, made: Connections) -> None:
    """Append what is missing to the part."""
    start = file.seek(0, os.SEEK_END)
    try:
        request = Request(url, headers={"Range": f"bytes={start}-"} if start else {})
        response = made.opener().open(request, timeout=timeout)
    except HTTPError as error:
        if error.code == 416 and start:  # nothing is behind the part's end
            return
        kind = TransientError if error.code >= 500 else WeightsError
        raise kind(f"{url}: the server answers {error.code} {printable(error.reason)}") from error
    except WeightsError:
        raise
    except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
        raise TransientError(
            f"{printable(url)}: cannot be fetched ({printable(getattr(error, 'reason', error))})"
        ) from error
    with response:
        start, total = position(response, start)
        if total is not None and total > limit:
            raise WeightsError(f"{url}: {total:,} bytes are offered, far more than the file has")
        done = copy(response, file, start, total, limit, progress, made)
    if total is not None and done < total:
        raise TransientError(f"{url}: the connection ended after {done:,} of {total:,} bytes; run it again to continue")


def position(response: Any, wanted: int) -> tuple[int, int | None]:
    """(where the answer's bytes belong, the file's size): a server may ignore the range and start from 0."""
    if response.status != 206:
        return 0, count(response.headers.get("Content-Length", ""))
    span, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    if span.partition("-")[0] != str(wanted) or count(total) is None:
        raise WeightsError(f"{response.url}: the server answers with a range that was not asked for")
    return wanted, count(total)


def count(digits: str) -> int | None:
    """The number that a header spells, or None."""
    return int(digits) if digits.isdecimal() and len(digits) < 20 else None


def copy(
    response: Any, file: BinaryIO, start: int, total: int | None, limit: int, progress: Progress, made: Connections
) -> int:
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
        if made.expired:
            raise TransientError(f"{response.url}: broke off")
    file.flush()
    os.fsync(file.fileno())
    return done


def receive(response: Any) -> bytes:
    """The bytes that have arrived: waiting for a full chunk would let a slow server outlast any timeout."""
    try:
        return response.read1(CHUNK)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TransientError(f"{response.url}: broke off ({printable(error)}); run it again to continue") from error
