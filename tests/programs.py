"""piw-master as a process, for tests of several files."""

import os
import subprocess
import sys
from contextlib import contextmanager

from helpers import INDEX, patience, until

QUEUES = ("status", "control", "console", "import", "log", "slave", "file")


def command(run_dir, dsn, *more):
    wires = [f"--{name}-queue=ipc://{run_dir}/{name}" for name in QUEUES]
    program = [sys.executable, "-m", "piwheels.master", f"--dsn={dsn}", "--dev-mode", INDEX]
    return [*program, f"--output-path={run_dir}/site", *wires, *more]


ENV = {**os.environ, "PIW_ALLOW_ROOT": "1", "HOME": "/nonexistent", "XDG_CONFIG_HOME": ""}


@contextmanager
def running_master(run_dir, dsn, *more, files=None):
    """Run a master until the end of the block. It must then end cleanly with status 0.

    *files* is the number of files that it may open.
    """
    stderr_file = run_dir / "stderr"
    limited = [] if files is None else ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh"]
    with stderr_file.open("wb") as log:
        process = subprocess.Popen([*limited, *command(run_dir, dsn, *more)], env=ENV, stderr=log)
    try:
        until(
            lambda: b"listening" in stderr_file.read_bytes() or process.poll() is not None,
            why=stderr_file.read_text,
        )
        assert process.poll() is None, stderr_file.read_text()
        process.stderr_file = stderr_file
        yield process
        if process.poll() is None:
            process.terminate()
        assert process.wait(patience(20)) == 0, stderr_file.read_text()[-3000:]
        assert "Traceback" not in stderr_file.read_text()
    finally:
        process.kill()
        process.wait()
