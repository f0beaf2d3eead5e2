"""Text leaves for a terminal in one place, and a line stays a line whatever a file calls its classes and keys."""

import ast
import io
import json
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import npresnet
from npresnet import printer, zoo
from npresnet.cli import main
from npresnet.weights import read_weights, save_weights

ROOT = Path(npresnet.__file__).parent
HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202egod\u2028\n\r cat\x9b31m\x00"
SHOWN = r"\x1b]0;owned\x07\x1b[2J\u202egod\u2028\n\r cat\x9b31m\x00"


def ways_to_print(path):
    """What in a file writes to a terminal by itself."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            of = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
            if name in ("print", "Console") or (of in ("sys.stdout", "sys.stderr") and name.startswith("write")):
                yield f"line {node.lineno}: {ast.unparse(node)[:60]}"


def test_there_is_one_printer():
    others = {
        str(path.relative_to(ROOT)): found
        for path in ROOT.rglob("*.py")
        if (found := list(ways_to_print(path))) and path.name != "printer.py"
    }
    assert others == {}


@pytest.mark.parametrize("line", ["print(1)", "sys.stderr.write('')", "Console()", "self.bar.console.print(1)"])
def test_the_check_itself(line, tmp_path):
    (tmp_path / "a.py").write_text(line)
    assert len(list(ways_to_print(tmp_path / "a.py"))) == 1


def test_a_line_stays_a_line(capsys):
    printer.say(HOSTILE, "äé 鱼 🐈 [red]")
    printer.note(HOSTILE)
    out, err = capsys.readouterr()
    assert out == f"{SHOWN}\näé 鱼 🐈 [red]\n" and err == f"{SHOWN}\n"


def test_json_stays_json(capsys):
    printer.say_json({HOSTILE: HOSTILE})
    out = capsys.readouterr().out
    assert json.loads(out) == {HOSTILE: HOSTILE} and out.isascii() and "\x1b" not in out


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """A folder with weights, keys, an archive and images that have hostile names."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save("a.png")
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save("\x1b[2J\u202e.png")
    Path("\x1b[31mbad.png").write_bytes(b"broken")
    found = read_weights(zoo.shipped())
    fields = json.loads(found.metadata["npresnet"])
    fields["classes"] = [f"{HOSTILE} {k}" for k in range(10)]
    save_weights(dict(found), "named.safetensors", metadata={"npresnet": json.dumps(fields)})
    header = json.dumps({HOSTILE: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    Path("keys.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    image = io.BytesIO()
    Image.new("RGB", (32, 32)).save(image, "PNG")
    with zipfile.ZipFile("\x1b[2Jset.zip", "w") as archive:
        for folder in ("cat", "\x1b[2J\u202edog"):
            for k in range(2):
                archive.writestr(f"{folder}/{k}.png", image.getvalue())
        archive.writestr("cat/\x1b[31mx.png", b"broken")
    return tmp_path


COMMANDS = [
    ["classify", "a.png", "\x1b[2J\u202e.png", "\x1b[31mbad.png", "--weights", "named.safetensors"],
    ["classify", "a.png", "--weights", "\x1b[2Jnone.pth"],
    ["cam", "a.png", "--weights", "named.safetensors", "--class", "3", "--out", "\x1b[2Jcam.png"],
    ["cam", "a.png", "--class", "\x1b[2Jx", "--out", "b.png"],
    ["summary", "--weights", "keys.safetensors"],
    ["summary", "\x1b[2J"],
    ["summary", "resnet20", "--input", "\x1b[2J"],
    ["convert", "keys.safetensors", "\x1b[2Jk.npz"],
    ["convert", "a.png", "k.npz"],
    ["evaluate", "--data", "\x1b[2Jset.zip"],
    ["evaluate", "--data", "\x1b[2Jnone"],
    ["train", "--data", "\x1b[2Jset.zip", "--model", "resnet20", "--out", "\x1b[2Jrun", "--epochs", "1"],
    ["train", "--data", "\x1b[2Jnone", "--out", "run"],
    ["train", "--out", "\x1b[2Jrun", "--resume"],
    ["diff", "\x1b[2J", "keras"],
    ["download", "\x1b[2J"],
    ["gradcheck", "\x1b[2J"],
    ["verify", "--weights", "\x1b[2J"],
    ["bench", "--model", "\x1b[2J"],
    ["\x1b[2J"],
    ["classify", "--\x1b[2J"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command[0]!a}")
def test_no_name_reaches_the_terminal_raw(command, scene, capsys):
    main(command)
    out, err = capsys.readouterr()
    assert out + err
    raw = {c for c in out + err if not c.isprintable()} - {"\n"}
    assert raw == set()
    assert not any(line.startswith((" cat", "god")) for line in (out + err).splitlines())


def test_a_warning_is_one_line_of_ours(tmp_path):
    code = (
        "import warnings\nfrom npresnet import cli\n"
        "cli.run = lambda argv: warnings.warn('first\\x1b[2J\\nsecond')\ncli.main([])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT.parent, capture_output=True, text=True)
    assert done.stderr == "npresnet: warning: first\\x1b[2J; second\n", done.stderr
