"""``piw-serve``: its entry point."""

from __future__ import annotations

import logging
import os
import signal
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from piwheels.core.errors import Fatal
from piwheels.core.host.descriptors import raise_limit
from piwheels.core.paths import bracketed, host
from piwheels.core.program.checking import check_option, listen, listening_problem, report
from piwheels.core.program.command_line import Common, option, port_number, program
from piwheels.core.program.logs import reopen_on_hangup
from piwheels.core.program.report import json_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from piwheels.serve.site import Site

logger = logging.getLogger("serve")


@dataclass(frozen=True, kw_only=True)
class ServeConfig(Common):
    """Serve the site to pip, uv and browsers, on one machine or in a trusted network."""

    output_path: Path = option(
        "-o", default=Path("/var/www/piwheels"), metavar="DIR", help="the directory of the site"
    )
    host: str = option(
        default="127.0.0.1", metavar="ADDRESS", help="the address to listen on", parse=host
    )
    port: int = option(
        default=8080, metavar="NUMBER", parse=port_number, help="the port to listen on"
    )
    check: bool = check_option()
    json: bool = json_option()


def problems(config: ServeConfig) -> Iterator[str]:
    """Yield what would prevent the server from starting or from serving the site."""
    if problem := _site_problem(config):
        yield problem
    if problem := listening_problem(config.host, config.port):
        yield problem


def _site_problem(config: ServeConfig) -> str:
    path = config.output_path
    if not path.is_dir():
        return f"{path} is not a directory: set --output-path to the site's"
    if not os.access(path, os.R_OK | os.X_OK):
        return f"cannot read {path}: let this user read it, or choose another --output-path"
    return ""


def _protocol(site: Site) -> Any:
    try:
        from piwheels.serve.repeating import RepeatingProtocol  # noqa: PLC0415 (it needs httptools)
    except ImportError:  # a machine for which httptools has no wheel
        return "auto"
    return partial(RepeatingProtocol, site)


@program(
    "piw-serve",
    ServeConfig,
    extra="serve",
    examples=[
        ("piw-serve -o /srv/piwheels", "on this machine: http://127.0.0.1:8080/"),
        ("piw-serve -o /srv/piwheels --host 0.0.0.0 --port 80", "for a whole network"),
    ],
)
def main(config: ServeConfig) -> int:
    """Serve until SIGINT or SIGTERM."""
    if config.check:
        return report(config, problems(config))
    reopen_on_hangup()
    raise_limit()
    import uvicorn  # noqa: PLC0415 (an extra)

    from piwheels.serve.site import Site  # noqa: PLC0415 (it needs the extra)

    if problem := _site_problem(config):
        raise Fatal(problem)
    root = config.output_path.absolute()
    with listen(config.host, config.port) as listener:
        port = listener.getsockname()[1]
        logger.info("serving %s at http://%s:%s/", config.output_path, bracketed(config.host), port)
        protocol = _protocol(Site(root, wait=False))
        settings = uvicorn.Config(
            Site(root),
            http=protocol,
            lifespan="off",
            ws="none",
            interface="asgi3",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            # Otherwise the protocol itself limits the connections.
            limit_concurrency=1000 if protocol == "auto" else None,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=3,
        )
        server = uvicorn.Server(settings)

        def stop(*_: object) -> None:
            server.should_exit = True

        for number in signal.SIGINT, signal.SIGTERM:
            # For a signal before uvicorn handles them itself; it raises its own again at the end.
            signal.signal(number, stop)
        server.run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
