"""An hour's use, from an empty folder: the README's and the how-to pages' lines, one after the other, and what they print.

    python -m tests.scripts.an_hour FOLDER > an-hour.txt

A fresh virtual environment gets npresnet by the README's line.  The 200 photos are cut from scikit-image's, a folder for each of
four; the ResNet-18 that the pages begin with has drawn weights, so that its answers mean nothing, and each takes as long
as a trained one's.  Needs scikit-image and pip's index.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
PAGES = ("classify-a-folder", "nearest-neighbours", "fine-tune", "grad-cam", "export-onnx")
BLOCK = re.compile(r"^```(console|python|sh)\n(.*?)^```", re.S | re.M)
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")  # of scikit-image, in the public domain


def cut_photos(folder: Path, count: int = 200, side: int = 360) -> None:
    """Write ``count`` crops of the photos into ``folder``/NAME, and one more beside them as query.jpg."""
    from skimage import data

    rng = np.random.default_rng(0)
    for k in range(count + 1):
        name = PHOTOS[k % len(PHOTOS)]
        whole = Image.fromarray(getattr(data, name)())
        height = int(rng.integers(180, min(whole.size) + 1))
        left, top = (int(rng.integers(0, size - height + 1)) for size in whole.size)
        path = folder / "photos" / name / f"{k:03}.jpg" if k < count else folder / "query.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        whole.crop((left, top, left + height, top + height)).resize((side, side)).save(path, quality=90)


class Hour:
    """Runs commands in the folder, with the environment's programs first, and prints each with its output and time."""

    def __init__(self, folder: Path):
        self.folder, self.began = folder, time.monotonic()
        self.environment = {**os.environ, "PATH": f"{folder / 'venv/bin'}{os.pathsep}{os.environ['PATH']}"}
        self.environment.pop("PYTHONPATH", None)

    def run(self, command: str, show: str = "", stdin: str | None = None) -> None:
        """Run one line of the shell; stop at a failure."""
        print(f"\n$ {show or command}", flush=True)
        began = time.monotonic()
        done = subprocess.run(
            command, shell=True, cwd=self.folder, env=self.environment, text=True, input=stdin, capture_output=True
        )
        for stream in (done.stdout, done.stderr):
            lines = stream.splitlines()
            print("\n".join([*lines[:12], *[f"… {len(lines) - 24} lines …"] * (len(lines) > 24), *lines[12:][-12:]]))
        print(f"[{time.monotonic() - began:.1f} s]", flush=True)
        if done.returncode:
            sys.exit(f"{show or command}: exit status {done.returncode}, after {time.monotonic() - self.began:.0f} s")

    def page(self, name: str) -> None:
        """Run the commands of a how-to page, and its Python, whose blocks go on from one another."""
        print(f"\n# docs/{name}.md", flush=True)
        python = ""
        for kind, text in BLOCK.findall((ROOT / f"docs/{name}.md").read_text(encoding="utf-8")):
            if kind == "python":
                python += text
                continue
            for line in text.splitlines():
                self.run(line.removeprefix("$ "))
        if python:
            self.run("python -", show=f"python - < the page's Python\n{python}", stdin=python)

    def service(self) -> None:
        """The example service answers one request."""
        print("\n# docs/service.md", flush=True)
        server = subprocess.Popen(
            ["uvicorn", "service:app", "--app-dir", str(ROOT / "docs"), "--port", "8765", "--log-level", "warning"],
            cwd=self.folder,
            env=self.environment,
        )
        try:
            ask = "curl --silent --retry 20 --retry-connrefused --data-binary @query.jpg http://127.0.0.1:8765/classify"
            self.run(ask)
        finally:
            server.terminate()
            server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="an empty folder, or a new one")
    folder = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        sys.exit(f"{folder} is not empty")
    cut_photos(folder)
    hour = Hour(folder)
    hour.run(f"{sys.executable} -m venv venv", show="python -m venv venv")
    (first, *_) = [text for kind, text in BLOCK.findall((ROOT / "README.md").read_text()) if kind == "sh"]
    hour.run(first.strip().replace("install .", f"install --quiet {ROOT}"), show=first.strip())
    hour.run(
        'python -c \'import npresnet as n; n.save_weights(n.create_model("resnet18"), "resnet18.pth")\'',
        show="# resnet18.pth, with drawn weights",
    )
    hour.run("pip install --quiet scikit-learn onnx onnxruntime starlette uvicorn")
    for page in PAGES:
        hour.page(page)
    hour.service()
    print(f"\n{time.monotonic() - hour.began:.0f} s")


if __name__ == "__main__":
    main()
