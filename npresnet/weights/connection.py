"""HTTP for download(): never from https to anything else, no other scheme at all, and an end to every wait."""

import http.client
import socket
import threading
from contextlib import contextmanager, suppress
from urllib import request
from urllib.parse import urlsplit

from ..formats.errors import WeightsError, printable

SCHEMES = ("https", "http")


def scheme_of(url):
    """"https" or "http", and WeightsError for anything else."""
    try:
        scheme = urlsplit(url).scheme.lower()
    except ValueError as error:
        raise WeightsError(f"{printable(url)}: no address ({error})") from None
    if scheme not in SCHEMES:
        raise WeightsError(f"{printable(url)}: only http and https addresses are fetched")
    return scheme


class Redirects(request.HTTPRedirectHandler):
    """Follows a server's redirection, but not from an encrypted connection to another kind."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        scheme = scheme_of(newurl)
        if scheme != "https" == scheme_of(req.full_url):
            raise WeightsError(f"{printable(req.full_url)}: redirects to {printable(newurl)}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class Connections:
    """The sockets of one download, all of which end at its deadline: a server may send a byte now and then for ever."""

    def __init__(self):
        self.sockets, self.over = [], False

    def opener(self):
        """urllib's, without the schemes file, ftp and data."""
        director = request.OpenerDirector()
        for handler in (request.ProxyHandler(), request.UnknownHandler(), request.HTTPDefaultErrorHandler(),
                        request.HTTPErrorProcessor(), Redirects(), self.handler("http"), self.handler("https")):
            director.add_handler(handler)
        return director

    def handler(self, scheme):
        """urllib's handler of a scheme, whose connections are noted here."""
        sockets = self.sockets
        connection, handler = ((http.client.HTTPConnection, request.HTTPHandler) if scheme == "http" else
                               (http.client.HTTPSConnection, request.HTTPSHandler))

        class Noted(connection):
            def connect(self):
                super().connect()
                sockets.append(self.sock)

        class Handler(handler):
            def do_open(self, http_class, req, **options):
                return super().do_open(Noted, req, **options)

        return Handler()

    def end(self):
        self.over = True
        for each in self.sockets:
            with suppress(OSError):
                socket.socket.shutdown(each, socket.SHUT_RDWR)   # wakes up whoever waits for it


@contextmanager
def connections(seconds):
    """Connections that end after so many seconds."""
    made = Connections()
    timer = threading.Timer(seconds, made.end)
    timer.daemon = True
    timer.start()
    try:
        yield made
    finally:
        timer.cancel()
