"""The ``piw-console`` program: it chooses a source and a shell over it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import signal
import sys
import termios
import threading
from typing import TYPE_CHECKING, Final, NoReturn

from piwheels.console.clock import ConsoleClock
from piwheels.console.config import ConsoleConfig, operator
from piwheels.console.session import Session
from piwheels.console.wire.link import Link
from piwheels.console.wire.recorder import Recorder
from piwheels.console.wire.replay import Replay
from piwheels.core.clock import SYSTEM
from piwheels.core.errors import Fatal
from piwheels.core.keys.options import client_pair
from piwheels.core.program.command_line import program
from piwheels.core.program.extras import needs
from piwheels.core.program.logs import reopen_on_hangup

if TYPE_CHECKING:
    from piwheels.console.source import Source
    from piwheels.console.ui.app import ConsoleApp


#: The exit status when the terminal is gone (128 plus the signal's number).
_HUNG_UP: Final = 128 + signal.SIGHUP
#: Textual's thread that writes to the terminal.
_WRITER: Final = "textual-output"


def _check(config: ConsoleConfig) -> None:
    if config.json and not config.once:
        raise Fatal("--json needs --once")
    shells = [name for name in ("once", "plain", "web") if getattr(config, name)]
    if len(shells) > 1:
        raise Fatal(f"--{shells[0]} and --{shells[1]} exclude each other")
    if config.replay is not None and config.record is not None:
        raise Fatal("--record and --replay exclude each other")
    if config.replay is None and "control" not in config.addresses:
        raise Fatal("a tcp --status-queue also needs a --control-queue")


def make_session(config: ConsoleConfig, clock: ConsoleClock) -> Session:
    """Return the session that *config* describes. Raises ``Fatal``."""
    if config.replay is not None:
        recording: Source = Replay(config.replay, clock)
        return Session(recording, read_only=True, who=operator())
    recorder = Recorder(config.record) if config.record is not None else None
    return Session(
        Link(config.addresses, clock, client_pair(config.key, config.master_key)),
        read_only=config.read_only,
        who=operator(),
        addresses=config.addresses,
        recorder=recorder,
        wall=SYSTEM.now,
    )


@program(
    "piw-console",
    ConsoleConfig,
    examples=[
        ("piw-console", "the farm of this user, or its piw-up"),
        ("piw-console --status-queue ipc:///srv/farm/run/status", "another one, on this machine"),
        ("piw-console --once --json", "the state of the farm, for a script"),
        ("piw-console --plain --record monday.rec", "a line for each event, and a recording"),
        ("piw-console --replay monday.rec", "replay the recording"),
    ],
)
def main(config: ConsoleConfig) -> int:
    """Run ``piw-console``."""
    _check(config)
    if config.web or config.plain:
        reopen_on_hangup()
    if config.web:
        with needs("web"):
            from piwheels.console import web  # noqa: PLC0415 (an extra)

        return web.run(config)
    clock = ConsoleClock()
    session = make_session(config, clock)
    if config.once:
        from piwheels.console import once  # noqa: PLC0415 (the other shells are not needed)

        return once.run(session, sys.stdout, json=config.json, timeout=config.timeout, clock=clock)
    if config.plain:
        from piwheels.console import plain  # noqa: PLC0415 (as above)

        return plain.run(session, sys.stdout, clock)
    return _screens(config, session, clock)


def _screens(config: ConsoleConfig, session: Session, clock: ConsoleClock) -> int:
    with needs("console", "or use --plain or --once"):
        from piwheels.console.ui.app import ConsoleApp  # noqa: PLC0415 (an extra)
        from piwheels.console.ui.prefs import Prefs, prefs_path  # noqa: PLC0415 (as above)
    served = "TEXTUAL_DRIVER" in os.environ  # by --web
    streams = (sys.stdin, sys.stdout, sys.stderr)  # the last one is drawn on
    if not served and not all(stream.isatty() for stream in streams):
        raise Fatal("this is not a terminal: use --plain or --once")
    for handler in logging.getLogger().handlers:  # a log line would tear the screen
        if type(handler) is logging.StreamHandler:
            logging.getLogger().removeHandler(handler)
    app = ConsoleApp(
        session,
        prefs=Prefs.load(prefs_path()),
        ascii=config.ascii,
        farm_name=config.farm_name,
        theme=config.theme,
        clock=clock,
    )
    asyncio.run(_run(app))
    return app.return_code or 0


async def _run(app: ConsoleApp) -> None:
    """Run *app* until it ends or a signal ends it; the terminal is restored in both cases.

    If the terminal is gone, end at once: Textual would wait forever to write to it.
    """
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, functools.partial(app.exit, return_code=143))

    def hung_up(*_: object) -> None:
        try:
            termios.tcgetattr(sys.stdin.fileno())
        except (termios.error, OSError, ValueError):
            _end_at_once(app)
        loop.call_soon_threadsafe(functools.partial(app.exit, return_code=_HUNG_UP))

    def writer_failed(args: threading.ExceptHookArgs) -> None:
        if isinstance(args.exc_value, OSError) and args.thread and args.thread.name == _WRITER:
            _end_at_once(app)
        threading.__excepthook__(args)

    signal.signal(signal.SIGHUP, hung_up)  # not by the loop, which may be the one that waits
    threading.excepthook = writer_failed
    await app.run_async()


def _end_at_once(app: ConsoleApp) -> NoReturn:
    with contextlib.suppress(Exception):  # there is nobody to report it to
        app.session.close()
    os._exit(_HUNG_UP)
