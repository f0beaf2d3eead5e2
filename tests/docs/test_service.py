"""The example service: the right answers to many callers at once, and one line to those who send what is no image."""

import importlib.util
import io
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import npresnet

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def service():
    """The module docs/service.py."""
    pytest.importorskip("starlette")
    spec = importlib.util.spec_from_file_location("service", DOCS / "service.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def client(service):
    """An HTTP client of the service, which runs on loopback."""
    httpx, uvicorn = pytest.importorskip("httpx"), pytest.importorskip("uvicorn")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(service.app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            assert server.started
            with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=60) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


def png(seed):
    """The bytes of an image of random pixels."""
    file, rng = io.BytesIO(), np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 256, (*rng.integers(32, 80, 2), 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_two_hundred_requests_of_eight_threads_get_their_own_answers(service, client):
    files = [png(seed) for seed in range(40)]
    x = npresnet.preprocess([io.BytesIO(file) for file in files], service.model)
    wanted = service.model(x)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda k: client.post("/classify", content=files[k % 40]), range(200)))
    for k, answer in enumerate(answers):
        assert answer.status_code == 200
        found = answer.json()["predictions"]
        scores = wanted[k % 40].astype(np.float64)
        p = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        assert len(found) == service.TOP and found[0]["name"] == service.model.classes[scores.argmax()]
        np.testing.assert_allclose([guess["probability"] for guess in found], [p[g["class"]] for g in found], atol=1e-4)


def test_callers_who_wait_are_computed_together(service, client, monkeypatch):
    sizes, logits = [], service.engine.logits

    def slow(x):
        sizes.append(len(x))
        time.sleep(0.05)
        return logits(x)

    monkeypatch.setattr(service.engine, "logits", slow)
    with ThreadPoolExecutor(8) as pool:
        assert {a.status_code for a in pool.map(lambda k: client.post("/classify", content=png(k)), range(24))} == {200}
    assert sum(sizes) == 24 and 1 < max(sizes) <= service.BATCH


@pytest.mark.parametrize("body", [b"", b"no image", png(0)[:60], b"\x89PNG\r\n\x1a\n" + b"\0" * 100])
def test_what_is_no_image_is_answered_in_one_line(client, body):
    answer = client.post("/classify", content=body)
    assert answer.status_code == 400 and re.fullmatch("[^\n]{10,}", answer.json()["error"])


def test_an_upload_has_a_limit(service, client):
    def endless():
        for _ in range(service.LIMIT // 2**20 + 1):
            yield bytes(2**20)

    answer = client.post("/classify", content=endless())
    assert answer.status_code == 413 and str(service.LIMIT) in answer.json()["error"]
    assert client.post("/classify", content=png(1)).status_code == 200  # and the service goes on


def test_an_error_of_the_engine_reaches_those_who_asked_alone(service, client, monkeypatch):
    def broken(x):
        raise MemoryError("no memory")

    with monkeypatch.context() as patched:
        patched.setattr(service.engine, "logits", broken)
        failed = client.post("/classify", content=png(2), headers={"Connection": "close"})
        assert failed.status_code == 500
    assert client.post("/classify", content=png(2)).status_code == 200


def test_its_state_and_its_verbs(service, client):
    about = client.get("/health").json()
    assert about["model"] == service.model.spec.name and about["engine"].startswith("CpuEngine(")
    assert client.get("/classify").status_code == 405


def test_the_page_shows_the_whole_script():
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "service.md").read_text(encoding="utf-8"), re.S)
    assert (DOCS / "service.py").read_text(encoding="utf-8") in blocks
