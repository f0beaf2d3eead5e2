"""Downloads from the Hugging Face Hub, played by a server on the loopback that answers what its library asks."""

import hashlib
import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

import npresnet
from npresnet.weights.folder import INDICES, WHOLE

pytest.importorskip("huggingface_hub")
REPO, COMMIT = "friend/net.in10", "c" * 40
CONFIG = {"architecture": "resnet20", "num_classes": 10, "label_names": [f"kind {number}" for number in range(10)]}
CONFIG |= {"pretrained_cfg": {"input_size": [3, 32, 32], "crop_pct": 1.0, "mean": [0.5, 0.5, 0.5], "std": [1, 1, 1]}}


class Hub:
    """The files of one repository, and what was asked for."""

    def __init__(self):
        self.files, self.asked, self.lie, self.status = {}, [], {}, 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.asked.append((self.command, self.path, dict(self.headers)))
                outer.answer(self)

            do_HEAD = do_GET

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def answer(self, request):
        path = request.path.partition("?")[0]
        found = re.fullmatch(rf"/{REPO}/resolve/{COMMIT}/([\w.-]+)", path)
        if self.status != 200:
            send(request, b"{}", self.status, {"X-Error-Code": {401: "RepoNotFound", 403: "GatedRepo"}[self.status]})
        elif path in (f"/api/models/{REPO}/revision/main", f"/api/models/{REPO}/revision/v1", f"/api/models/{REPO}"):
            send(request, json.dumps(self.info()).encode())
        elif found and found[1] in self.files:
            content = self.lie.get(found[1], self.files[found[1]])
            send(request, content, 200, {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT})
        else:
            send(request, b"{}", 404, {"X-Error-Code": "RevisionNotFound" if "revision" in path else "EntryNotFound"})

    def info(self):
        return {"id": REPO, "modelId": REPO, "sha": COMMIT, "siblings": [*map(self.sibling, self.files)]}

    def sibling(self, name):
        content = self.files[name]
        stated = {"rfilename": name, "size": len(content)}
        if name.endswith(".json"):
            return {**stated, "blobId": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()}
        digest = hashlib.sha256(content).hexdigest()
        return {**stated, "blobId": "0" * 40, "lfs": {"sha256": digest, "size": len(content), "pointerSize": 130}}


def send(request, body, code=200, headers=None):
    request.send_response(code)
    for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
        request.send_header(name, value)
    request.end_headers()
    if request.command == "GET":
        request.wfile.write(body)


@pytest.fixture
def hub(network, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    hub = Hub()
    npresnet.save_weights(dict(network.state_dict()), tmp_path / "net.safetensors")
    hub.files = {WHOLE[0]: (tmp_path / "net.safetensors").read_bytes(), "config.json": json.dumps(CONFIG).encode()}
    hub.files |= {WHOLE[1]: b"never asked for", "README.md": b"", "onnx/model.onnx": b""}
    yield hub
    hub.http.shutdown()
    hub.http.server_close()


def test_download_of_a_network(run, hub, network, tmp_path):
    line = ("download", f"hf:{REPO}", "--to", tmp_path / "models", "--mirror", hub.url)
    folder, result = tmp_path / "models" / "net.in10", run(*line)
    assert (result.status, result.out) == (0, f"{folder}\n"), result.err
    assert "resnet20 with 10 classes" in result.err and "classes: kind 0, kind 1" in result.err
    assert "short side 32, centre 32, bilinear, RGB, mean (0.5, 0.5, 0.5)" in result.err
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == ["config.json", WHOLE[0]]
    model, x = npresnet.load_model(folder), np.ones((1, 3, 32, 32), np.float32)
    np.testing.assert_array_equal(model(x), network(x))
    assert not any("authorization" in map(str.lower, headers) for _, _, headers in hub.asked)
    files = len([path for method, path, _ in hub.asked if method == "GET" and "/resolve/" in path])
    assert run(*line).status == 0 and files == 2  # and nothing is fetched again
    assert len([path for method, path, _ in hub.asked if method == "GET" and "/resolve/" in path]) == files


def test_download_of_a_revision_in_shards(run, hub, network, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    arrays, places = network.state_dict(), {}
    for number in (0, 1):
        part = dict(list(arrays.items())[number::2])
        name = f"model-0000{number + 1}-of-00002.safetensors"
        npresnet.save_weights(part, tmp_path / name)
        hub.files[name] = (tmp_path / name).read_bytes()
        places |= dict.fromkeys(part, name)
    del hub.files[WHOLE[0]]
    hub.files[INDICES[0]] = json.dumps({"weight_map": places}).encode()
    result = run("download", f"hf:{REPO}@v1", "--to", tmp_path)
    assert result.status == 0 and "read the 2 files" in result.err, result.err
    assert any("/revision/v1" in path for _, path, _ in hub.asked)
    del hub.files[name]
    again = run("download", f"hf:{REPO}@v1", "--to", tmp_path / "other")
    assert again.status == 2 and f"holds no {name}" in again.complaint


def test_a_file_with_other_bytes_is_replaced_only_with_force(run, hub, tmp_path):
    line = ("download", f"hf:{REPO}", "--to", tmp_path, "--mirror", hub.url)
    mine = tmp_path / "net.in10" / WHOLE[0]
    mine.parent.mkdir()
    mine.write_bytes(b"tuned by me")
    refused = run(*line)
    assert refused.status == 2 and "--force" in refused.complaint and mine.read_bytes() == b"tuned by me"
    assert run(*line, "--force").status == 0 and mine.read_bytes() == hub.files[WHOLE[0]]


def test_bytes_that_are_not_those_the_hub_states(run, hub, tmp_path):
    hub.lie[WHOLE[0]] = hub.files[WHOLE[0]][:-1] + b"?"
    result = run("download", f"hf:{REPO}", "--to", tmp_path, "--mirror", hub.url)
    assert result.status == 2 and "do not have the hash" in result.complaint
    assert not (tmp_path / "net.in10" / WHOLE[0]).exists()


@pytest.mark.parametrize(
    "name, status, words",
    [
        ("hf:friend", 200, "write hf:owner/name"),
        ("hf:../../etc", 200, "write hf:owner/name"),
        (f"hf:{REPO}@gone", 200, "it has no such revision"),
        (f"hf:{REPO}", 401, "there is no such repository, or it is private"),
        (f"hf:{REPO}", 403, "its owner asks for consent"),
    ],
)
def test_a_download_that_cannot_be(run, hub, tmp_path, name, status, words):
    hub.status = status
    result = run("download", name, "--to", tmp_path, "--mirror", hub.url)
    assert result.status == 2 and words in result.complaint and name in result.complaint


def test_a_repository_without_weights(run, hub, tmp_path):
    hub.files = {"README.md": b""}
    result = run("download", f"hf:{REPO}", "--to", tmp_path, "--mirror", hub.url)
    assert result.status == 2 and "holds no model.safetensors" in result.complaint


def test_a_server_that_is_not_there(run, tmp_path):
    result = run("download", f"hf:{REPO}", "--to", tmp_path, "--mirror", "http://127.0.0.1:1")
    assert result.status == 2 and "cannot be fetched" in result.complaint


def test_without_the_library(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    result = run("download", f"hf:{REPO}", "--to", tmp_path)
    assert result.status == 2 and "pip install 'npresnet[hub]'" in result.complaint


def test_a_hub_name_in_the_place_of_a_file():
    with pytest.raises(npresnet.WeightsError, match="fetch it with npresnet download"):
        npresnet.load_model(f"hf:{REPO}")
