"""The ``piw-up`` program: starts the parts of a farm, requests builds, and stops it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packaging.pylock import is_valid_pylock_path

from piwheels.core.clock import SYSTEM
from piwheels.core.database import Database
from piwheels.core.errors import DatabaseError, Fatal, PiWheelsError
from piwheels.core.host.interpreters import Interpreter, probe
from piwheels.core.host.launcher import Launcher, fork_launcher
from piwheels.core.keys.ring import fingerprint
from piwheels.core.paths import data_dir, to_connect
from piwheels.core.program.extras import install
from piwheels.core.program.logs import reopen_on_hangup
from piwheels.core.program.privileges import drop_root, environment, interpreter_dirs
from piwheels.core.program.report import write_object
from piwheels.core.protocols import NOT_EMULATING, SANDBOX, SlaveEvent
from piwheels.core.states import offers_of
from piwheels.core.subscription import Subscription
from piwheels.core.targets import NO_SLAVE
from piwheels.core.targets import Target as BuildTarget
from piwheels.core.wheels.tags import same_version
from piwheels.core.words import counted, duration_text
from piwheels.up import console, database, separation, site, summary
from piwheels.up.boards import OWN, PORTS, SLAVES, Boards
from piwheels.up.config import label_for, port_in_use, queues
from piwheels.up.lockfile import writing
from piwheels.up.lockfile.lookups import Lookups, resolved
from piwheels.up.lockfile.reading import environment as environment_of
from piwheels.up.lockfile.reading import read
from piwheels.up.lockfile.work import LockWork
from piwheels.up.processes import (
    SHORT_STOP_LIMIT,
    TOO_OFTEN,
    Processes,
    Stopped,
    child_environment,
    last_lines,
)
from piwheels.up.progress import RED, Screen, Slaves
from piwheels.up.pythons import interpreter_named
from piwheels.up.registry import Registrar, Resolver
from piwheels.up.summary import Target
from piwheels.up.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from piwheels.core.clock import Clock
    from piwheels.core.host.postgres import Cluster
    from piwheels.up.config import UpConfig
    from piwheels.up.lockfile.entries import Lock

#: Pure and native wheels, one for the stable ABI, and one that cannot be built.
DEMO_PACKAGES: Final = (
    "six", "markupsafe", "zope.interface", "wrapt", "simplejson", "psutil", "functools32",
)  # fmt: skip
#: Seconds between two checks of the daemons, and between two queries of the database.
TICK, QUERY_INTERVAL = 0.2, 1.0
#: Seconds to wait for the slaves to start.
START_LIMIT: Final = 30.0
#: Seconds more, for the roots of the systems that they emulate.
ROOTS_LIMIT: Final = 1800.0
#: Seconds to wait for pages and logs after the end of the last build.
PUBLISH_LIMIT: Final = 90.0
#: Of these, seconds to wait for what the index says about the versions, such as a yank.
UPSTREAM_LIMIT: Final = 10.0


class Up:
    """Runs the farm in the folder of *processes*. Its slaves build for *interpreters*.

    They, and so their builds, run as the user of *launcher*, if there is one. *lock* has what to
    build, instead of the packages of *config*.
    """

    def __init__(
        self,
        config: UpConfig,
        processes: Processes,
        interpreters: Sequence[Interpreter],
        launcher: Launcher | None = None,
        *,
        clock: Clock = SYSTEM,
        lock: Lock | None = None,
    ) -> None:
        self.config = config
        self._clock = clock
        self.processes = processes
        self.site = processes.home / "www"
        #: Not with a private socket for slaves, which another user could not open.
        self.launcher = None if config.slave_queue.startswith("ipc:") else launcher
        #: The port for other boards that another program uses.
        self.taken = port_in_use(config) if config.boards else None
        self.admits_boards = config.boards and self.taken is None
        keyed = self.launcher is not None
        self.queues = queues(config, processes.home, boards=self.admits_boards, keyed=keyed)
        #: The keys, if a socket is not private.
        over_tcp = any(where.startswith("tcp:") for where in self.queues.values())
        self.boards = Boards(processes.home, clock) if over_tcp else None
        self.port = site.free_port(config.host, config.port)
        self.host = site.host_in_url(config.host)
        self.pythons = list(dict.fromkeys(each.path for each in interpreters))
        #: The name of its slave.
        self.label = label_for(interpreters)
        self.versions = list(dict.fromkeys(each.dotted for each in interpreters))
        self.targets = list(dict.fromkeys(each.target for each in interpreters))
        self.abi = self.targets[0].abi
        self.screen = Screen(sys.stderr, os.environ, quiet=config.quiet)
        self.console = console.Console()
        self.slaves = Slaves()
        if lock is None:
            targets = summary.parse_targets(config.packages or DEMO_PACKAGES)
        else:
            targets = [
                Target(each.requirement, each.name, each.version, each.problem, each.detail)
                for each in lock.entries
            ]
        about = targets, self.targets, self.versions, self.site, self.screen
        self.tracker = Tracker(*about, for_all=config.once, clock=clock)
        open_ = [target for target in targets if not (target.version or target.problem)]
        self._unresolved = {target.spec: target for target in open_}
        self._resolver = Resolver([], self.versions[0])
        self.lock_work = lock and LockWork(
            lock.entries, config.from_source, self.abi, self.tracker,
            Lookups(config, interpreters[0], processes.home, self.launcher), self.site,
            self.screen.say, clock=clock,
        )  # fmt: skip
        #: What its slave builds for, and the systems that this cannot emulate, with the reasons.
        self._offered: set[BuildTarget] = set()
        self._left_out: list[str] = []
        self._cluster: Cluster | None = None
        #: When PostgreSQL, which has ended, is started again.
        self._database_due: float | None = None
        self._began = clock.monotonic()
        for handler in logging.getLogger().handlers:
            if type(handler) is logging.StreamHandler:
                handler.setStream(self.screen)

    @property
    def url(self) -> str:
        """The address of the site."""
        return f"http://{self.host}:{self.port}/"

    @property
    def trusted(self) -> str:
        """The host that pip has to trust, if it does not."""
        return self.host if site.needs_trust(self.host) else ""

    # Start and end ----------------------------------------------------------------------------

    def run(self) -> int:
        """Build the requested versions, then serve until stopped (with ``--once``, return).

        Return the exit status. Raises :exc:`Stopped` after a signal, or when an operator has
        stopped the farm, and :exc:`Fatal` when a part of it fails; all parts are stopped then.
        """
        self.screen.say(f"the farm is in {self.processes.home}")
        self.site.mkdir(exist_ok=True)
        with contextlib.ExitStack() as stack:
            db, env = self._open_database(stack)
            addresses = to_connect(self.queues["status"]), to_connect(self.queues["control"])
            key = None if self.boards is None else self.boards.pair(OWN)
            if self.boards is not None:
                self.boards.unpin()
            events = stack.enter_context(Subscription(*addresses, self._clock, key=key))
            # From here on, the daemons stop before the database does.
            stack.callback(self._stop)
            self.tracker.begin(db)
            self._start_daemons(env)
            self._resolve()
            stack.callback(self._cancel_lookup)
            address = to_connect(self.queues["import"])
            registrar = stack.enter_context(
                Registrar(
                    address,
                    self._check,
                    key,
                    files=self.queues.get("keyless-file", self.queues["file"]),
                    follow=not self.config.once,
                )
            )
            registrar.refresh_pages()
            self._say_separation(events)
            self._await_targets(events, db)
            self._invite()
            stack.callback(self._end_console)
            self._open_console()
            if self.lock_work is not None:
                stack.callback(self.lock_work.close)
            self._work(db, events, registrar)
            specs = None if self.lock_work is None else self._finish_lock(self.lock_work, db)
            while self.console.has_terminal:
                self._tick(events)
            self.screen.show([])
            if self.config.json:
                for values in self.tracker.records(self.url, self.trusted, specs):
                    write_object(values)
            else:
                sys.stdout.write(self.tracker.report(self.url, self.trusted, specs))
            sys.stdout.flush()
            if self.config.once:
                self.screen.say(
                    f"the site is in {self.site}; without --once, this continues to serve it"
                )
                return 0 if self.tracker.all_built and not self._left_out else 1
            if watched := [target.package for target in self.tracker.targets if target.watched]:
                names = ", ".join(watched)
                self.screen.say(f"watching {names}: their new releases are built, too")
            self.screen.say(f"the site is at {self.url} until this is stopped (Ctrl+C)")
            self.screen.say(f"to monitor and control the farm: {self._attach_line()}")
            while True:
                self._tick(events)

    def _attach_line(self) -> str:
        key = None if self.boards is None else self.boards.file(OWN)
        return console.attach_line(self.queues, key)

    def _say_separation(self, events: Subscription) -> None:
        """Say how builds are separated from the farm, once their slaves know."""
        limit = START_LIMIT
        if self.config.emulate:
            limit += ROOTS_LIMIT
            self.screen.say(
                f"preparing to emulate {', '.join(self.config.emulate)}: this takes a"
                " minute or two for a system that this machine does not have yet"
            )
        deadline = self._clock.monotonic() + limit
        slaves = [daemon for daemon in self.processes.daemons if daemon.name == self.label]
        while not all(found := [daemon.said(SANDBOX) for daemon in slaves]):
            if self._clock.monotonic() > deadline:
                self.screen.say("it is not known how builds are confined: see the logs", RED)
                return
            self._tick(events)
        builder = "" if self.launcher is None else self.launcher.user.pw_name
        chosen = self.config.sandbox != "auto"
        words = separation.sentence(found, builder, chosen=chosen, is_root=not os.geteuid())
        self.screen.say(words)
        self._left_out = [each for slave in slaves for each in slave.lines_with(NOT_EMULATING)]
        for words in self._left_out:
            self.screen.say(words, RED)

    def _await_targets(self, events: Subscription, db: Database) -> None:
        """Wait until the farm builds for all that its slave emulates.

        Before that, nothing may be waiting, because of the wheels of an earlier run.
        """
        deadline = self._clock.monotonic() + START_LIMIT
        while self.config.emulate and self._clock.monotonic() < deadline:
            self._tick(events)
            with contextlib.suppress(DatabaseError):
                rows = [row for row in db.get_targets() if row.skip != NO_SLAVE]
                known = {BuildTarget(row.platform, row.abi_tag) for row in rows}
                if self._offered and self._offered <= known:
                    return

    def _invite(self) -> None:
        """Print the command with which a board joins the farm."""
        if self.taken is not None:
            self.screen.say(f"no board can join: port {self.taken} is in use (--slave-queue)", RED)
        elif self.admits_boards and self.boards is not None:
            command = self.boards.invite(self.queues)
            self.screen.say(f"one board can join within an hour by this command:\n  {command}")

    def _open_database(self, stack: contextlib.ExitStack) -> tuple[Database, dict[str, str]]:
        """Return the database, ready for use, and the environment with its address for daemons."""
        home = self.processes.home / "postgres"
        server = stack.enter_context(database.server(self.config.dsn, home))
        self._cluster = server.cluster
        if server.cluster is not None:
            self.processes.more_logs.append(server.cluster.log)
        self._check()
        if not database.is_current(server):
            self.screen.say("preparing the database")
            env = child_environment(self.config, os.environ, server.superuser)
            self.processes.run("piwheels.initdb", env | {"PIW_YES": "1"})
        db = stack.enter_context(Database(server.daemon, database.PATIENCE))
        joined = self.admits_boards and self.boards is not None and self.boards.has_joined()
        database.prepare(db, self.targets, [self.label], alone=not joined)
        return db, child_environment(self.config, os.environ, server.daemon)

    def _start_daemons(self, env: dict[str, str]) -> None:
        config = self.config
        common = ["-v"] if config.verbose else []
        common += ["-c", str(config.config)] if config.config is not None else []
        wires = [f"--{name}-queue={where}" for name, where in self.queues.items()]
        place = f"--output-path={self.site}"
        source = f"--source={'known' if config.once else 'watch'}"
        args = [place, "--dev-mode", "--targets-of-slaves", source, *wires, *common]
        if self.boards is not None:
            args.append(f"--keys={self.boards.folder.path}")
        if not site.is_everywhere(config.host):  # else it has several addresses
            args.append(f"--site-url={self.url}")
        self.processes.start("master", "piwheels.master", args, env)
        http = [f"--host={config.host}", f"--port={self.port}"]
        # The server and the slaves do not use the database.
        env = {name: value for name, value in env.items() if name != "PIW_DSN"}
        self.processes.start("serve", "piwheels.serve", [place, *http, *common], env)
        self._start_slave(env, common)
        self.screen.say(f"started the master, the site's server, {self.label}")

    def _start_slave(self, env: Mapping[str, str], common: Sequence[str]) -> None:
        config, builds = self.config, self.processes.home / "build"
        if self.launcher is not None:
            builds = Path(self.launcher.user.pw_dir)
            env = environment(env, self.launcher.user)
        builds.mkdir(exist_ok=True)
        shared = [f"--dir={builds}", f"--timeout={config.timeout.total_seconds():f}", *common]
        shared += [f"--sandbox={config.sandbox}"] if config.sandbox != "auto" else []
        shared += [f"--emulate={systems}" for systems in config.emulate]
        shared += [f"--allow-host={host}" for host in config.allow_host]
        shared += ["--offline-build"] if config.offline_build else []
        shared += ["--no-packages"] if config.no_packages else []
        if config.requirement and config.from_source == "all":
            shared.append(f"--requirements-index={self.url}simple/")
        local = {q: self.queues.get(f"keyless-{q}", self.queues[q]) for q in PORTS}
        if self.launcher is not None and self.boards is not None:
            key = builds / f"{fingerprint(self.boards.pair(SLAVES).master)}.key"
            self.launcher.files[str(key)] = self.boards.file(SLAVES).read_text()
            shared.append(f"--key={key}")
            local = {q: to_connect(self.queues[q]) for q in PORTS}
        shared += [f"--{q}-queue={where}" for q, where in local.items()]
        pythons = [f"--python={path}" for path in self.pythons]
        jobs = len(pythons) if config.jobs is None else config.jobs or "auto"
        args = [f"--label={self.label}", *pythons, f"--jobs={jobs}", *shared]
        self.processes.start(self.label, "piwheels.slave", args, env, self.launcher)

    def _tick(self, events: Subscription) -> None:
        self._check()
        self._listen(events, TICK)

    def _check(self) -> None:
        try:
            for event in self.processes.check():
                self.screen.say(event.sentence, RED if event.bad else "")
                if event.name == "master":
                    self.slaves = Slaves()  # it numbers them from the beginning
        except Stopped as end:
            if not self.processes.stopping:
                self.screen.say(str(end))
            raise
        self._check_console()
        if self._cluster is not None and self._cluster.pid is None:
            self._restart_database(self._cluster)

    def _restart_database(self, cluster: Cluster) -> None:
        """Start PostgreSQL again, after a pause; raise :exc:`Fatal` if it has ended too often."""
        now = self._clock.monotonic()
        if self._database_due is None:
            pause = self.processes.restarts.pause("PostgreSQL", now)
            words = f"the end of {cluster.log}:\n{last_lines(cluster.log)}"
            if pause is None:
                # The master would keep trying to save its data.
                self.processes.patience = SHORT_STOP_LIMIT
                raise Fatal(f"PostgreSQL has ended {TOO_OFTEN}; {words}")
            self.screen.say(f"PostgreSQL has ended: starting it again in {pause:g} s; {words}", RED)
            self._database_due = now + pause
        elif now >= self._database_due:
            self._database_due = None
            try:
                cluster.start()
            except (PiWheelsError, OSError) as exc:  # the next check counts it
                self.screen.say(str(exc), RED)
            else:
                self.screen.say("started PostgreSQL again")

    def _stop(self) -> None:
        self.screen.show([])
        self.screen.say("stopping")
        self.processes.stop()

    # The console ----------------------------------------------------------------------------

    def _open_console(self) -> None:
        """Open the console on a terminal; from then on, piw-up's log goes to a file."""
        config = self.config
        if (
            config.no_console
            or config.once
            or config.quiet
            or config.json
            or not console.possible()
        ):
            return
        if not console.installed():
            self.screen.say(f"no console: textual is not installed ({install('console')})")
            return
        options = ["-c", str(config.config)] if config.config is not None else []
        if self.boards is not None:
            options.append(f"--key={self.boards.file(OWN)}")
        try:
            self.screen.divert(self.processes.logs / "up.log")
        except OSError as exc:
            self.screen.say(f"no console: cannot write {exc.filename} ({exc.strerror})", RED)
            return
        self.console.open(self.queues, options, child_environment(config, os.environ, ""))

    def _check_console(self) -> None:
        status = self.console.ended()
        if status is None:
            return
        self.screen.return_to_terminal()
        if status:
            self.screen.say(f"the console has ended ({status})", RED)
        again = self._attach_line()
        self.screen.say(f"the farm continues; Ctrl+C stops it; {again} attaches again")

    def _end_console(self) -> None:
        self.console.close()
        self.screen.return_to_terminal()

    # Work -----------------------------------------------------------------------------------

    def _work(self, db: Database, events: Subscription, registrar: Registrar) -> None:
        """Register the requested versions, and wait until all were attempted and published."""
        for target in self.tracker.targets if self.lock_work is None else ():
            if target.version:
                self._register(target, registrar)
        look, deadline, known = 0.0, 0.0, 0.0
        while True:
            self._check()
            self._listen(events, TICK)
            self._take_answers(registrar)
            if self._clock.monotonic() < look:
                continue
            look = self._clock.monotonic() + QUERY_INTERVAL
            try:
                done = self.tracker.update(db)
                if self._go_on(db, registrar):
                    continue
            except DatabaseError as exc:
                self.screen.say(f"the database does not answer: {exc}", RED)
                continue
            if done:
                now = self._clock.monotonic()
                deadline, known = deadline or now + PUBLISH_LIMIT, known or now + UPSTREAM_LIMIT
                if self.tracker.published(db, wait_for_upstream=now < known):
                    return
                if self._clock.monotonic() > deadline:
                    self.screen.say("the site is not complete yet", RED)
                    return

    def _take_answers(self, registrar: Registrar) -> None:
        """Take the new answers of pip."""
        for name, *answer in self._resolver.results():
            self._resolved(self._unresolved.pop(name), *answer, registrar=registrar)
        if self.lock_work is not None:
            self.lock_work.poll(registrar)

    def _go_on(self, db: Database, registrar: Registrar) -> bool:
        """Begin what has turned out to be needed; return whether something is."""
        if self.lock_work is not None:
            return not self.lock_work.advance(db, registrar)
        if self.config.no_deps or self._unresolved or not (new := self.tracker.add_dependencies()):
            return False
        for target in new:
            self.screen.say(f"{target.needed_by} needs {target.spec}: building it, too")
        self._unresolved = {target.spec: target for target in new}
        self._resolve()
        return True

    def _finish_lock(self, work: LockWork, db: Database) -> list[str]:
        """Write the lock file of the farm; return the options with which pip installs from it."""
        work.verify(db)
        self.tracker.update(db)
        path = self.config.lock_file or self.processes.home / f"requirements-{self.abi}.txt"
        options, index = ["--require-hashes", "-r", str(path)], f"{self.url}simple/"
        wheels, missing = work.locked(), self.tracker.problems()
        if is_valid_pylock_path(path):
            text = writing.pylock(wheels, missing, index, self.versions[0])
        else:
            install = summary.install_line(index, options, self.trusted)
            text = writing.requirements(wheels, missing, self.abi, install)
        try:
            path.write_text(text)
        except OSError as exc:
            raise Fatal(
                f"cannot write {path} ({exc.strerror}): choose another --lock-file"
            ) from exc
        self.screen.say(f"wrote {path}: {counted(len(wheels), 'wheel')}, {len(missing)} missing")
        return options if wheels else []

    def _resolve(self) -> None:
        """Look up the newest versions of the packages that were requested by name."""
        self._cancel_lookup()
        if self._unresolved:
            self.screen.say(f"asking the index for {', '.join(self._unresolved)}")
        self._resolver = Resolver(list(self._unresolved), self.versions[0])

    def _cancel_lookup(self) -> None:
        self._resolver.close()

    def _resolved(
        self, target: Target, version: str, problem: str, detail: str, *, registrar: Registrar
    ) -> None:
        if version and any(
            other.package == target.package and same_version(other.version, version)
            for other in self.tracker.targets
        ):
            self.tracker.targets.remove(target)  # it was requested by its version, too
            return
        target.version, target.problem, target.detail = version, problem, detail
        if problem:
            self.screen.say(f"{target.spec}: {problem} ({detail})", RED)
        if not problem or (target.watched and not self.config.once):
            self._register(target, registrar)

    def _register(self, target: Target, registrar: Registrar) -> None:
        problem = target.problem
        registrar.register(target)
        if target.problem != problem:
            self.screen.say(f"{target.spec}: the master refused it: {target.detail}", RED)
        elif target.version:
            self.screen.say(f"registered {target.package} {target.version}")

    def _listen(self, events: Subscription, seconds: float) -> None:
        """Receive the events of slaves from the master, for *seconds*."""
        deadline = self._clock.monotonic() + seconds
        while (left := deadline - self._clock.monotonic()) > 0:
            if isinstance(event := events.receive(left), SlaveEvent):
                self._take_event(event)
        now = self._clock.monotonic()
        lines = self.slaves.lines(now)
        if (done := self.tracker.done) < (total := len(self.tracker.targets)):
            elapsed = duration_text(timedelta(seconds=now - self._began))
            lines.append(f"  {done} of {total} done, {elapsed}")
        self.screen.show(lines)

    def _take_event(self, event: SlaveEvent) -> None:
        if event.message == "HELLO" and event.data.label == self.label:
            self._offered.update(offer.target for offer in offers_of(event.data))
            self.tracker.ours |= self._offered
        # The master repeats old events on request: their age is the only use of the timestamp.
        age = (self._clock.now() - event.timestamp).total_seconds()
        sentence = self.slaves.event(event, self._clock.monotonic(), age)
        if sentence and not self.screen.live:
            self.screen.say(sentence)


def run(config: UpConfig) -> int:
    """Run a farm until it is stopped; return the exit status."""
    named = [interpreter_named(text) for text in config.python]
    pythons = named or [Path(sys.executable)]
    readable = [each for path in named for each in interpreter_dirs(str(path))]
    readable += [config.requirement.absolute().parent] if config.requirement else []
    drop_root(extra_dirs=readable, data_dir=config.dir, launch=fork_launcher)
    launcher = Launcher.inherited()
    interpreters = [probe(path) for path in pythons]
    lock = _read_lock(config, interpreters)
    if not config.verbose:  # omit the version of PostgreSQL
        logging.getLogger("postgres").setLevel(logging.WARNING)
    with Processes((config.dir or data_dir()).absolute()) as processes:
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, processes.on_signal)
        reopen_on_hangup()
        try:
            if lock is not None and not lock.is_closed:
                lookups = Lookups(config, interpreters[0], processes.home, launcher)
                lock = resolved(lock, lookups, processes.check)
            return Up(config, processes, interpreters, launcher, lock=lock).run()
        except Stopped:
            return 1 if config.once else 0
        except Fatal:
            if processes.stopping:  # the same Ctrl+C stopped a child process
                return 1 if config.once else 0
            raise


def _read_lock(config: UpConfig, interpreters: Sequence[Interpreter]) -> Lock | None:
    """Return the lock file that *config* names, for the first of *interpreters*."""
    if config.requirement is None:
        return None
    if config.lock_file is not None and not config.lock_file.absolute().parent.is_dir():
        raise Fatal(f"there is no folder for {config.lock_file}: choose another --lock-file")
    lock = read(config.requirement, environment_of(interpreters[0].path))
    for note in lock.notes:
        logging.getLogger("up").warning("%s", note)
    if config.no_deps and all(each.version or each.problem for each in lock.entries):
        return lock._replace(is_closed=True)
    return lock
