"""Claims: `import fastrec` under 0.5 s, an unchanged `fastrec run` under 5 s, the service ready in under 3 s.

Beside them stand a bare interpreter and a bare `import fastapi`, which no such service can beat.  Needs a
finished run: `make run` first, or name another one.
"""

from __future__ import annotations

import subprocess
import sys
import time

import measure


def seconds(*command: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def ready(run_name: str) -> float:
    from fastrec.artefacts import PACKAGE
    from fastrec.deploy import trial
    from fastrec.run import Run

    with trial.running(Run(run_name).path(PACKAGE)) as service:
        return service.ready_seconds


def main(run_name: str = "digits", rounds: int = 5) -> None:
    python, fastrec = sys.executable, [sys.executable, "-m", "fastrec.cli"]
    found = measure.alternate(
        {
            "import fastrec": lambda: seconds(python, "-c", "import fastrec"),
            "bare interpreter": lambda: seconds(python, "-c", "pass"),
            "fastrec run, unchanged": lambda: seconds(*fastrec, "run", "--run", run_name),
            "service ready": lambda: ready(run_name),
            "import fastapi": lambda: seconds(python, "-c", "import fastapi"),
        },
        rounds,
    )
    measure.report("seconds", "s", found, None, ("fastapi", "uvicorn", "papermill"), digits=3)


if __name__ == "__main__":
    main(*sys.argv[1:2])
