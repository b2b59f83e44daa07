"""``piw-console --web``: the same console in a browser, by textual-serve.

Each open page is a process of its own. Everybody who reaches the address can watch the farm, and
command it with ``--web-control``; by default only this machine can reach it. A page of another site
can do neither, because its browser reports its origin. Nothing is fetched from other sites.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ipaddress
import logging
import os
import shlex
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from aiohttp import WSCloseCode, web
from textual_serve.app_service import AppService
from textual_serve.server import Server, to_int

from piwheels.core.errors import Fatal
from piwheels.core.host.processes import dies_with_parent
from piwheels.core.paths import bracketed

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from aiohttp.typedefs import Handler

    from piwheels.console.config import ConsoleConfig

#: The most open pages.
MOST_PAGES: Final = 16
#: How long a console may take to end after each signal when its page is closed, in seconds.
ASKED, SIGNALLED = 3.0, 2.0
#: Exceptions of textual-serve for a page that sends something invalid.
_INVALID: Final = (ValueError, LookupError, TypeError, AttributeError, AssertionError)
#: The valid sizes of a page's terminal.
_SIZES: Final = range(10, 1001)
#: Options that a page's console does not inherit.
_OURS: Final = frozenset({"config", "log_file", "quiet", "verbose", "record", "read_only", "json"})
#: A page may load its own parts only; the one font from another site is left out.
_POLICY: Final = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; font-src 'self' data:; connect-src 'self' {socket};"
    " frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)

logger = logging.getLogger("web")


def run(config: ConsoleConfig) -> int:
    """Serve consoles until a signal ends the program. Raises ``Fatal``."""
    if config.record is not None:
        raise Fatal("--web cannot --record: record with a console of its own")
    url = f"http://{bracketed(config.web_host)}:{config.web_port}/"
    served = _Pages(config)
    what = "watch and command" if config.web_control else "watch"
    logger.info("serving the console at %s; everybody who reaches it can %s the farm", url, what)
    if not _is_loopback(config.web_host):
        logger.warning("other machines can reach it, without authentication")
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    # It reports a failed start when a page was closed before its console started.
    logging.getLogger("textual-serve").setLevel(logging.CRITICAL)
    try:
        web.run_app(
            served.make_app(), host=config.web_host, port=config.web_port, print=None,
            shutdown_timeout=1,
        )  # fmt: skip
    except OSError as exc:
        raise Fatal(f"cannot listen on {url} ({exc.strerror or exc}): choose another") from exc
    return 0


def environment_of(config: ConsoleConfig) -> dict[str, str]:
    """Return the environment that passes our options to a page's console."""
    passed: dict[str, str] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in _OURS or not value:
            continue
        if isinstance(value, Path):
            passed[field.name] = str(value.absolute())
        elif isinstance(value, (bool, str)):
            passed[field.name] = "1" if value is True else str(value)
    passed |= {"web": "0", "once": "0", "plain": "0"}
    passed["read_only"] = "0" if config.web_control and not config.read_only else "1"
    inherited = {name: value for name, value in os.environ.items() if name != "PIW_CONFIG"}
    return inherited | {f"PIW_{name.upper()}": value for name, value in passed.items()}


class _Pages(Server):
    """The open pages, each with its console."""

    def __init__(self, config: ConsoleConfig) -> None:
        command = shlex.join([sys.executable, "-P", "-m", "piwheels.console"])
        title = f"piw-console {config.farm_name}".rstrip()
        super().__init__(command, host=config.web_host, port=config.web_port, title=title)
        self._environment = environment_of(config)
        self._open: set[web.WebSocketResponse] = set()

    async def make_app(self) -> web.Application:
        """Return the application with its guard."""
        app = await self._make_app()
        app.middlewares.append(self._guard)
        return app

    async def on_startup(self, app: web.Application) -> None:
        """Say nothing: it has been said."""

    async def on_shutdown(self, app: web.Application) -> None:
        """Close all pages, whose consoles end then."""
        for page in list(self._open):
            await page.close(code=WSCloseCode.GOING_AWAY, message=b"the server has ended")

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._is_ours(request.host):
            raise web.HTTPForbidden(text="This is not the address of this console.\n")
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise web.HTTPForbidden(text="Pages of other sites have no business here.\n")
        if request.path == "/ws" and len(self._open) >= MOST_PAGES:
            raise web.HTTPServiceUnavailable(text=f"{MOST_PAGES} pages are open already.\n")
        # The page is to find its parts where the browser has found the page.
        self.public_url = f"http://{request.host}"
        response = await handler(request)
        if not response.prepared:
            policy = _POLICY.format(socket=f"ws://{request.host}")
            response.headers["Content-Security-Policy"] = policy
            response.headers["X-Content-Type-Options"] = "nosniff"
            response.headers["Referrer-Policy"] = "no-referrer"
        return response

    def _is_ours(self, host: str) -> bool:
        """Whether a browser that asks for *host* means us, and was not led here by a name."""
        name = urlsplit(f"//{host}").hostname or ""
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(name)
            return True
        return name in ("localhost", self.host, socket.gethostname(), socket.getfqdn())

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Run a console for a page until either ends."""
        page = web.WebSocketResponse(heartbeat=15)
        await page.prepare(request)
        console = _Console(self, page, self._environment)
        self._open.add(page)
        try:
            await console.start(_size(request, "width", 80), _size(request, "height", 24))
            with contextlib.suppress(*_INVALID):
                await self._process_messages(page, console)
        finally:
            self._open.discard(page)
            await asyncio.shield(console.stop())
            await page.close()
        return page


class _Console(AppService):
    """A console that a page shows; nothing of it stays when it is stopped."""

    def __init__(
        self, pages: _Pages, page: web.WebSocketResponse, environment: dict[str, str]
    ) -> None:
        super().__init__(
            pages.command,
            write_bytes=page.send_bytes, write_str=page.send_str, close=_closer(page),
            download_manager=pages.download_manager,
        )  # fmt: skip
        self._environment = environment

    def _build_environment(self, width: int = 80, height: int = 24) -> dict[str, str]:
        return super()._build_environment(width, height) | self._environment

    async def _open_app_process(self, width: int = 80, height: int = 24) -> Process:
        self._process = await asyncio.create_subprocess_exec(
            *shlex.split(self.command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._build_environment(width, height),
            process_group=0,
            preexec_fn=dies_with_parent(signal.SIGKILL),
        )
        self._stdin = self._process.stdin
        return self._process

    async def stop(self) -> None:
        """End the console: by request, then SIGTERM, then SIGKILL."""
        task, self._task = self._task, None
        process = self._process
        if task is None or process is None:
            return
        await self._download_manager.cancel_app_downloads(app_service_id=self.app_service_id)
        with contextlib.suppress(TimeoutError, OSError, RuntimeError):
            async with asyncio.timeout(ASKED):
                await self.send_meta({"type": "quit"})
                await process.wait()
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(TimeoutError):
                if process.returncode is None:
                    _signal_group(process.pid, sign)
                await asyncio.wait_for(process.wait(), SIGNALLED)
        _signal_group(process.pid, signal.SIGKILL)  # what it may have started
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _closer(page: web.WebSocketResponse) -> Any:
    async def close() -> None:
        await page.close()

    return close


def _signal_group(group: int, sign: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, sign)


def _size(request: web.Request, name: str, usual: int) -> int:
    wanted: int = to_int(request.query.get(name, ""), usual)
    return wanted if wanted in _SIZES else usual


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
