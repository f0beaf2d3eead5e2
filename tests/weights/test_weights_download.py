"""The catalogue, and downloads from a server on the loopback that misbehaves in every way a server can."""

import hashlib
import os
import re
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import Request

import pytest

from npresnet.weights import CATALOGUE, WeightsError, catalogue, download, find
from npresnet.weights.catalogue import by_hash
from npresnet.weights.connection import Redirects, connections

from ..support import oracles

CONTENT = bytes(range(256)) * 12_000  # 3 MB: several chunks
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def test_the_catalogue_has_torchvision_s_17_files():
    assert len(CATALOGUE) == 17 and len({entry.file for entry in CATALOGUE}) == 17
    for entry in CATALOGUE:
        start = re.fullmatch(rf"{entry.model}-([0-9a-f]{{8}})\.pth", entry.file)[1]
        assert entry.sha256_prefix.startswith(start) and len(entry.sha256) in (0, 64)
        assert entry.url == f"https://download.pytorch.org/models/{entry.file}"
        assert find(entry.name) is entry and by_hash(entry.sha256_prefix + "0" * 56) in (entry, by_hash(entry.sha256))
    assert find("resnet50").version == "V1" and find("resnet50:v2").preprocessing == "imagenet-v2"
    assert sum(bool(entry.sha256) for entry in CATALOGUE) == 7 and by_hash("0" * 64) is None and by_hash("") is None
    with pytest.raises(WeightsError, match="resnet50"):
        find("resnet5O")
    with pytest.raises(WeightsError, match="resnet34"):
        find("resnet34:V2")


def test_the_catalogue_equals_torchvision_s_own():
    models = oracles.torchvision_models()
    for entry in CATALOGUE:
        weights = models.get_model_weights(entry.model)[f"IMAGENET1K_{entry.version}"]
        metrics = weights.meta["_metrics"]["ImageNet-1K"]
        assert (weights.url, weights.meta["num_params"]) == (entry.url, entry.parameters)
        assert (metrics["acc@1"], metrics["acc@5"]) == (entry.top1, entry.top5)
        assert weights.meta["_ops"] == pytest.approx(entry.macs / 1e9, abs=1e-3)
        assert weights.transforms().resize_size == [entry.resize]


class Server:
    """Serves CONTENT under any path; ``plan`` says what each request gets, the last again and again."""

    def __init__(self, *plan):
        self.plan, self.requests = list(plan), []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.requests.append((self.path, self.headers.get("Range")))
                outer.plan[min(len(outer.requests), len(outer.plan)) - 1](self)
                self.close_connection = True

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/models"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


def send(body, code=200, length=None, **headers):
    def answer(handler):
        handler.send_response(code)
        if length != "none":
            handler.send_header("Content-Length", str(len(body) if length is None else length))
        for key, value in headers.items():
            handler.send_header(key.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def ranged(cut=None, content=CONTENT):
    """A server that knows ranges, and cuts the connection after ``cut`` bytes."""

    def answer(handler):
        wanted = handler.headers.get("Range")
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted else 0
        if start >= len(content):
            return send(b"", 416)(handler)
        span = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if wanted else {}
        send(content[start:][:cut], 206 if wanted else 200, length=len(content) - start, **span)(handler)

    return answer


def stalled(handler):
    send(b"x", length=5000)(handler)
    time.sleep(2)


@pytest.fixture
def fetch(monkeypatch, tmp_path):
    """fetch(server, **options): download "tiny", whose file is CONTENT; the server is closed at the end."""
    entry = replace(find("resnet18"), model="tiny", file=f"tiny-{DIGEST[:8]}.pth", sha256=DIGEST)
    monkeypatch.setitem(catalogue.ENTRIES, "tiny:V1", entry)
    opened = []

    def run(server, **options):
        opened.append(server)
        return download("tiny", tmp_path, base_url=server.url, timeout=0.5, **options)

    run.file = tmp_path / entry.file
    run.part = tmp_path / f"{entry.file}.part"
    yield run
    for server in opened:
        server.http.shutdown()
        server.http.server_close()


def test_a_file_is_fetched_verified_and_not_fetched_again(fetch):
    server, seen = Server(ranged()), []
    assert fetch(server, progress=lambda done, total: seen.append((done, total))) == fetch.file
    assert fetch.file.read_bytes() == CONTENT and not fetch.part.exists()
    assert seen[-1] == (len(CONTENT), len(CONTENT)) and seen == sorted(seen) and len(seen) >= 3
    assert fetch(server) == fetch.file
    assert server.requests == [(f"/models/{fetch.file.name}", None)]


def test_a_damaged_file_is_fetched_again(fetch):
    fetch.file.write_bytes(CONTENT[:-1])
    fetch(Server(ranged()))
    assert fetch.file.read_bytes() == CONTENT


def test_a_cut_connection_is_resumed_where_it_stopped(fetch):
    server = Server(ranged(cut=1_000_000), ranged(cut=700_000), ranged())
    fetch(server)
    assert [wanted for _, wanted in server.requests] == [None, "bytes=1000000-", "bytes=1700000-"]
    assert fetch.file.read_bytes() == CONTENT


def test_a_later_call_resumes_what_an_earlier_one_left(fetch):
    with pytest.raises(WeightsError, match=r"after 1,500,000 of 3,072,000 bytes; run it again"):
        fetch(Server(ranged(cut=500_000)))
    assert fetch.part.stat().st_size == 1_500_000 and not fetch.file.exists()
    server = Server(ranged())
    fetch(server)
    assert server.requests[0][1] == "bytes=1500000-" and fetch.file.read_bytes() == CONTENT


def test_a_server_that_ignores_ranges_sends_all_of_it_again(fetch):
    fetch.part.write_bytes(CONTENT[:1000])
    fetch(Server(send(CONTENT)))
    assert fetch.file.read_bytes() == CONTENT


def test_a_part_that_is_whole_needs_nothing_more(fetch):
    fetch.part.write_bytes(CONTENT)
    fetch(Server(ranged()))
    assert fetch.file.read_bytes() == CONTENT


def test_a_wrong_part_is_thrown_away_and_fetched_anew(fetch):
    fetch.part.write_bytes(b"\0" * 1000)
    server = Server(ranged())
    fetch(server)
    assert [wanted for _, wanted in server.requests] == ["bytes=1000-", None] and fetch.file.read_bytes() == CONTENT
    fetch.file.unlink()
    fetch.part.write_bytes(CONTENT + b"more")  # longer than the file
    fetch(server)
    assert fetch.file.read_bytes() == CONTENT


def test_wrong_bytes_are_never_kept(fetch):
    server = Server(send(b"\0" * 5000))
    with pytest.raises(WeightsError, match=f"do not have the SHA-256 {DIGEST}"):
        fetch(server)
    assert not fetch.file.exists() and not fetch.part.exists() and len(server.requests) == 3


def test_a_passing_failure_of_the_server_is_tried_again(fetch):
    server = Server(send(b"busy", 503), ranged())
    fetch(server)
    assert len(server.requests) == 2 and fetch.file.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "answer, words, requests",
    [
        (send(b"gone", 404), "404", 1),
        (send(b"no", 403), "403", 1),
        (send(b"busy", 500), "500", 3),
        (send(b"x", length=10**12), "far more", 1),
        (send(b"x" * 10**8, length="none"), "more bytes arrive", 1),
        (lambda handler: handler.wfile.write(b"garbage\r\n\r\n"), "cannot be fetched", 3),
        (lambda handler: None, "cannot be fetched", 3),
        (send(b"x", length=5000), "after 1 of 5,000|broke off", 3),
        (stalled, "broke off", 3),
    ],
    ids=["404", "403", "500", "announces too much", "sends for ever", "garbage", "hangs up", "stops", "stalls"],
)
def test_an_error_is_one_clear_line(answer, words, requests, fetch):
    server = Server(answer)
    with pytest.raises(WeightsError, match=words) as caught:
        fetch(server)
    assert "\n" not in str(caught.value) and server.url in str(caught.value) and not fetch.file.exists()
    assert len(server.requests) == requests


def test_a_range_that_was_not_asked_for_is_refused(fetch):
    fetch.part.write_bytes(CONTENT[:1000])
    with pytest.raises(WeightsError, match="range"):
        fetch(Server(send(CONTENT, 206, Content_Range=f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}")))
    assert fetch.part.read_bytes() == CONTENT[:1000]


def test_no_server_no_folder_and_no_such_name(tmp_path, fetch):
    server = Server(ranged())
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(WeightsError, match="cannot be fetched"):
        download("tiny", tmp_path, base_url=server.url)
    with pytest.raises(WeightsError, match="only http"):
        download("tiny", tmp_path, base_url="file:///etc")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WeightsError, match="cannot be written"):
        download("tiny", tmp_path / "file", base_url=server.url)
    with pytest.raises(WeightsError, match="no published weights"):
        download("resnet9000", tmp_path)


# --- what a server, or somebody else in the folder, may try ---------------------------------------------------------


def test_a_link_in_the_place_of_the_part_is_not_followed(fetch, tmp_path):
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    for target in (precious, tmp_path / "elsewhere"):
        fetch.part.symlink_to(target)
        fetch(Server(ranged()))
        assert fetch.file.read_bytes() == CONTENT and not fetch.file.is_symlink() and not fetch.part.is_symlink()
        fetch.file.unlink()
    assert precious.read_bytes() == b"mine" and not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, os.mkdir, lambda part: os.link(part.parent / "precious", part)],
    ids=["a pipe", "a folder", "another name of a file"],
)
def test_what_no_download_left_is_not_written_to(make, fetch, tmp_path):
    (tmp_path / "precious").write_bytes(b"mine")
    make(fetch.part)
    with pytest.raises(WeightsError, match=r"remove it|Is a directory"):
        fetch(Server(ranged()))
    assert (tmp_path / "precious").read_bytes() == b"mine" and not fetch.file.exists()


def test_two_downloads_do_not_write_one_part(fetch):
    """The second is refused while the first runs."""
    refused = []

    def answer(handler):
        with pytest.raises(WeightsError, match="another download is writing it"):
            fetch(Server(ranged()))
        refused.append(True)
        ranged()(handler)

    fetch(Server(answer))
    assert refused and fetch.file.read_bytes() == CONTENT


def test_https_is_never_left():
    def redirected(start, to):
        return Redirects().redirect_request(Request(start), None, 302, "Found", {}, to)

    assert redirected("https://a/x", "https://b/x").full_url == "https://b/x"
    assert redirected("http://a/x", "https://b/x").full_url == "https://b/x"
    for to in ("http://a/x", "ftp://a/x", "file:///etc/passwd", "data:,x", "//["):
        with pytest.raises(WeightsError, match=r"not https|only http and https|no address"):
            redirected("https://a/x", to)
    with connections(9) as made:
        kinds = set(made.opener().handle_open)
    assert kinds <= {"http", "https", "unknown"}


def test_a_redirection_to_a_file_is_refused(fetch):
    for place in ("file:///etc/passwd", "ftp://127.0.0.1/x"):
        with pytest.raises(WeightsError, match=r"not allowed|only http"):
            fetch(Server(send(b"", 302, Location=place)))
    assert not fetch.part.exists()


def dripping(head):
    """A server that sends a byte now and then: of its answer's head, or of its body."""

    def answer(handler):
        if not head:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3072000\r\n\r\n")
        for _ in range(100):
            handler.wfile.write(b"x")
            time.sleep(0.1)

    return answer


@pytest.mark.parametrize("head", [True, False])
def test_a_server_that_drips_is_left_in_time(head, fetch):
    start = time.monotonic()
    with pytest.raises(WeightsError, match="longer than the time that it was given"):
        fetch(Server(dripping(head)), total_timeout=0.6)
    assert time.monotonic() - start < 5


def test_numbers_of_thousands_of_digits_are_no_numbers(fetch):
    fetch(Server(send(CONTENT, length="9" * 5000), ranged()), attempts=2)
    assert fetch.file.read_bytes() == CONTENT


@pytest.mark.parametrize("address", ["http://[::1", "http://127.0.0.1:99999", "http://a b/", "gopher://a", ""])
def test_what_is_no_address_is_one_clear_line(address, fetch, tmp_path):
    with pytest.raises(WeightsError) as caught:
        download("tiny", tmp_path, base_url=address or "nothing", attempts=1)
    assert "\n" not in str(caught.value) and not fetch.part.exists()
