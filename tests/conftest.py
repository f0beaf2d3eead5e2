"""What every test shares."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # one BLAS thread for each worker; kernels keep theirs
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy reads it as it is imported

import pytest
from hypothesis import settings

# Examples are random, as often as they run; a slow machine is no failure.
settings.register_profile("npresnet", deadline=None)
settings.register_profile("mutation", deadline=None, max_examples=10, derandomize=True, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "npresnet"))

_skips = []


def pytest_runtest_logreport(report):
    if report.skipped and not hasattr(report, "wasxfail"):
        _skips.append((report.nodeid, report.longrepr[2] if isinstance(report.longrepr, tuple) else ""))


def pytest_collectreport(report):
    if report.skipped:
        _skips.append((report.nodeid, report.longrepr[2] if isinstance(report.longrepr, tuple) else ""))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    """Where NPRESNET_ALLOWED_SKIPS is "gpu", as in .ci/run, a skip for any other reason is a failure."""
    if os.environ.get("NPRESNET_ALLOWED_SKIPS") == "gpu":
        bad = [(test, reason) for test, reason in _skips if "GPU" not in reason]
        for test, reason in bad:
            print(f"\nskipped, and not for want of a GPU: {test}: {reason}")
        if bad and session.exitstatus == 0:
            session.exitstatus = 1
