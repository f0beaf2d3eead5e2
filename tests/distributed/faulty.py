"""npresnet, with a rank on which something goes wrong.

python -m tests.distributed.faulty FAULT RANK STEP FILE, and then npresnet's own words, under mpiexec.
Before the rank's step (counted from 0) the time is written to FILE, and the fault happens.
"""

import errno
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from npresnet import cli
from npresnet.data import ImageError
from npresnet.data.batches import Batches
from npresnet.distributed import world
from npresnet.training import checkpoint
from npresnet.training.shared_step import SharedStep


def fail(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device", str(checkpoint.FILE))


def broken(self, epoch, part):
    raise ImageError("photo.jpg: cannot be read")


def happen(fault, batch):
    """The batch that the step is given, after the fault."""
    if fault in ("KILL", "STOP", "INT"):
        os.kill(os.getpid(), getattr(signal, f"SIG{fault}"))
    elif fault == "full disk":
        checkpoint.save_weights = fail
    elif fault == "broken image":
        Batches.augmented = broken
    elif fault == "error":
        raise ZeroDivisionError("a bug")
    elif fault == "NaN":
        return batch._replace(x=np.full_like(batch.x, np.nan))
    return batch


def main(fault, rank, step, path, *words):
    made, own = 0, SharedStep.__call__

    def call(self, batch):
        nonlocal made
        if made == int(step) and world().rank == int(rank):
            Path(path).write_text(str(time.time()))
            batch = happen(fault, batch)
        made += 1
        own(self, batch)

    SharedStep.__call__ = call
    return cli.main(words)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
