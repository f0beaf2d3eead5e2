"""Starting processes together."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
WHY_NOT = "" if MPIEXEC and find_spec("mpi4py") else "MPI is missing: pip install mpi4py mpich"
needs_mpi = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "MPI is there")


def command(ranks, *words):
    """The command line that runs ``python -m words`` on so many ranks."""
    return [str(MPIEXEC), "-n", str(ranks), sys.executable, "-m", *map(str, words)]


def environment(**more):
    known = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for name in [name for name in known if name.startswith(("PMI", "MPI", "OMPI", "HYD"))]:
        del known[name]
    return {
        **known,
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        **more,
    }


def launch(ranks, *words, timeout=120, **more):
    """What ``mpiexec -n ranks python -m words`` did, and said."""
    return subprocess.run(
        command(ranks, *words), capture_output=True, text=True, timeout=timeout, env=environment(**more), cwd=ROOT
    )


def start(ranks, *words, **more):
    """The same, still running."""
    return subprocess.Popen(
        command(ranks, *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**more),
        cwd=ROOT,
    )
