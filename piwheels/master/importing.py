"""The imports of MrChase: performs the effects of :mod:`piwheels.master.logic.imports`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, assert_never

from piwheels.core.clock import SYSTEM, Clock
from piwheels.master.file_juggler import FsClient
from piwheels.master.logic import effects
from piwheels.master.logic.imports import Imports
from piwheels.master.rpc import Client, Questions
from piwheels.master.the_oracle import DbClient

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterable

    from piwheels.core.states import BuildState
    from piwheels.core.tasks import Task
    from piwheels.master.logic.effects import ImportEffect
    from piwheels.master.wiring import MasterConfig

#: How long another task may take to answer, in seconds.
PATIENCE = 120.0


class ImportDesk:
    """Performs what :class:`~piwheels.master.logic.imports.Imports` decides, for *task*.

    *reply* sends a tool its reply: address, message, data.
    """

    def __init__(
        self,
        config: MasterConfig,
        task: Task,
        reply: Callable[[bytes, str, Any], None],
        clock: Clock = SYSTEM,
    ) -> None:
        self.imports = Imports()
        self._logger: logging.Logger = task.logger
        self._reply = reply
        self._clock = clock
        self._questions = Questions(PATIENCE)
        self._db = DbClient(config, task.logger)
        self._fs = FsClient(config, task.logger)
        self._web = Client(task.ctx, config.web_queue, "TheSecretary", task.logger)
        collect = self._questions.collect
        task.register(self._db.socket, lambda _: collect("db", self._db.answers()))
        task.register(self._fs.socket, lambda _: collect("fs", self._fs.answers()))
        task.register(self._web.socket, lambda _: collect("web", self._web.answers()))

    def begin(self, address: bytes, build: BuildState) -> None:
        """Begin to import *build* for the tool at *address*. Raises ``Refused``."""
        self._perform(self.imports.begin(address, build))

    def sent(self, address: bytes) -> None:
        """Have the file verified that a tool has sent. Raises ``Refused``."""
        self._perform(self.imports.sent(address))

    def leave(self, address: bytes) -> None:
        """Undo the import of the tool at *address*, if it has one."""
        self._perform(self.imports.leave(address, "its tool has abandoned it"))

    def tick(self) -> None:
        """End imports whose tool is silent, and questions that have no answer in time."""
        self._questions.expire()
        self._perform(self.imports.tick())

    def _perform(self, todo: Iterable[ImportEffect]) -> None:
        for effect in todo:
            match effect:
                case effects.Reply(address, msg, data):
                    self._reply(address, msg, data)
                case effects.Warn(_, _, text):
                    self._logger.warning("import: %s", text)
                case effects.AskPublished(number, package):
                    self._ask("db", self._db.request("get_package_files", package), number)
                case effects.LogBuild(number, build):
                    own = dataclasses.replace(build, slave_id=0)  # no slave has built it
                    self._ask("db", self._db.request("log_build", own), number)
                case effects.Expect(number, state, publish_as):
                    self._ask("fs", self._fs.request_expect(number, state, publish_as), number)
                case effects.Verify(number, package):
                    self._ask("fs", self._fs.request_verify(number, package), number)
                case effects.Withdraw(number, package, filenames):
                    ticket = self._fs.request_withdraw(number, package, filenames)
                    self._ask("fs", ticket, number)
                case effects.AskMissing(number):
                    self._ask_missing(number)
                case effects.Written(build):
                    self._written(build)
                case _:
                    assert_never(effect)

    def _ask(self, whose: str, ticket: int, number: int) -> None:
        """Have the active import with *number* go on when the answer has come."""
        asking = self.imports.lines[number][0]
        step = asking.step

        def then(result: Any, error: Exception | None) -> None:
            line = self.imports.lines.get(number)
            # Otherwise the import that asked was given up in the meantime.
            if line and line[0] is asking and asking.step is step:
                self._perform(self.imports.answered(number, result, error))

        self._questions.remember(whose, ticket, step, then)

    def _ask_missing(self, number: int) -> None:
        asking = self.imports.lines[number][0]

        def then(missing: Any, error: Exception | None) -> None:
            line = self.imports.lines.get(number)
            if line and line[0] is asking and error is None:
                now = self._clock.monotonic()
                self._perform(self.imports.progress(number, missing, now))

        self._questions.remember("fs", self._fs.request_missing(number), "progress", then)

    def _written(self, build: BuildState) -> None:
        self._logger.info(
            "imported %s %s for %s: %s",
            build.package, build.version, build.abi_tag, ", ".join(build.files),
        )  # fmt: skip
        self._web.request("LOG", [build.build_id, build.output])
        self._web.request("BOTH", build.package)
