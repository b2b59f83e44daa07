"""A slave that builds ``demo`` 1.0 by commands: one line of JSON for each, and for its result.

``python building.py SANDBOX FOLDER``; the sources are those of pip's settings. A command is the
limits of the build, or ``null``: a quick build with a stand-in for pip.
"""

import json
import sys
from datetime import timedelta
from pathlib import Path

from piwheels.core.host.pip_config import default_index, pip_command, pip_settings
from piwheels.core.host.processes import adopt_orphans
from piwheels.core.wheels.dependencies import System
from piwheels.slave.builder import Builder
from piwheels.slave.egress.gate import PORT, Egress, environment
from piwheels.slave.limits import Limits
from piwheels.slave.sandbox.choice import choose

# It makes the wheel that pip makes of the honest source, in a tenth of the time.
QUICK_PIP = """
import os, sys, tarfile, zipfile
if "install" in sys.argv:  # the trial of the wheel
    (folder,) = (arg.partition("=")[2] for arg in sys.argv if arg.startswith("--target="))
    zipfile.ZipFile(sys.argv[-1]).extractall(folder)
    sys.exit()
with tarfile.open(os.environ["PIP_FIND_LINKS"] + "/demo-1.0.tar.gz") as sdist:
    exec(sdist.extractfile("demo-1.0/backend.py").read())
(folder,) = (arg.partition("=")[2] for arg in sys.argv if arg.startswith("--wheel-dir="))
build_wheel(folder)
"""


def limits_of(command):
    """Return the limits of a build, and its time-out."""
    seconds = {
        key: timedelta(seconds=command.pop(key, 60)) for key in ("timeout", "silence", "cpu")
    }
    return {"timeout": seconds.pop("timeout"), "limits": Limits(**seconds, **command)}


def main(mode, folder):
    """Build until standard input ends."""
    adopt_orphans()
    python, pip = Path(sys.executable), pip_command(None)
    egress = Egress(pip_settings(pip), default_index(), frozenset())
    variables = environment(egress, folder, folder, PORT)
    sandbox = choose(mode, python, pip, folder, variables, PORT).sandbox
    system = System()
    for line in sys.stdin:
        command = json.loads(line)
        quick = [sys.executable, "-I", "-S", "-c", QUICK_PIP]
        with Builder(
            "demo", "1.0", dir=folder, pip=pip if command else quick, sandbox=sandbox,
            egress=egress, system=system, **limits_of(command or {}),
        ) as builder:  # fmt: skip
            builder.start()
            builder.join()
        result = {
            "built": builder.status, "lost": builder.lost, "output": builder.output,
            "wheels": [wheel.filename for wheel in builder.wheels],
            "left": [path.name for path in folder.iterdir()],
        }  # fmt: skip
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
