"""HTTP for download(): no scheme but http and https, no redirection away from https, and a deadline for the whole."""

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib import request
from urllib.parse import urlsplit

from ..formats.errors import WeightsError, printable

SCHEMES = ("https", "http")


def scheme_of(url: str) -> str:
    """ "https" or "http"; raises WeightsError for anything else."""
    try:
        scheme = urlsplit(url).scheme.lower()
    except ValueError as error:
        raise WeightsError(f"{printable(url)}: is no address ({error}); give one that begins with https://") from None
    if scheme not in SCHEMES:
        raise WeightsError(f"{printable(url)}: only http and https addresses are fetched")
    return scheme


class Redirects(request.HTTPRedirectHandler):
    """Follows a server's redirection, but not from an encrypted connection to another kind."""

    def redirect_request(
        self, req: request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> request.Request | None:
        scheme = scheme_of(newurl)
        if scheme != "https" == scheme_of(req.full_url):
            raise WeightsError(f"{printable(req.full_url)}: redirects to {printable(newurl)}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class Connections:
    """The sockets of one download, all closed at its deadline: a server may send a byte now and then for ever."""

    def __init__(self):
        self.sockets: list[socket.socket] = []
        self.expired = False

    def opener(self) -> request.OpenerDirector:
        """urllib's, without the schemes file, ftp and data."""
        director = request.OpenerDirector()
        for handler in (
            request.ProxyHandler(),
            request.UnknownHandler(),
            request.HTTPDefaultErrorHandler(),
            request.HTTPErrorProcessor(),
            Redirects(),
            self.handler("http"),
            self.handler("https"),
        ):
            director.add_handler(handler)
        return director

    def handler(self, scheme: str) -> request.BaseHandler:
        """urllib's handler of a scheme, whose sockets are listed here."""
        sockets = self.sockets
        classes: Any = (
            (http.client.HTTPConnection, request.HTTPHandler)
            if scheme == "http"
            else (http.client.HTTPSConnection, request.HTTPSHandler)
        )
        connection, handler = classes

        class ListedConnection(connection):
            def connect(self):
                super().connect()
                sockets.append(self.sock)

        class Handler(handler):
            def do_open(self, http_class, req, **options):
                return super().do_open(ListedConnection, req, **options)

        return Handler()

    def close(self) -> None:
        """Shut every socket down, which ends the reads that wait for it."""
        self.expired = True
        for each in self.sockets:
            with suppress(OSError):
                socket.socket.shutdown(each, socket.SHUT_RDWR)


@contextmanager
def connections(seconds: float) -> Iterator[Connections]:
    """Connections that are closed after so many seconds."""
    made = Connections()
    timer = threading.Timer(seconds, made.close)
    timer.daemon = True
    timer.start()
    try:
        yield made
    finally:
        timer.cancel()
