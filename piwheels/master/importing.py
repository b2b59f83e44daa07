"""The imports of MrChase: performs the effects of :mod:`piwheels.master.logic.imports`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, assert_never, cast

from piwheels.core.clock import SYSTEM, Clock
from piwheels.master.fs_client import FsClient
from piwheels.master.logic import effects
from piwheels.master.logic.imports import Imports
from piwheels.master.messages import RewritePages, WriteLog
from piwheels.master.the_oracle import DbClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from piwheels.core.states import BuildState
    from piwheels.core.tasks import Task
    from piwheels.master.logic.effects import ImportEffect
    from piwheels.master.ports import Ports
    from piwheels.master.result import Result

#: The seconds that another task may take to answer.
PATIENCE = 120.0


class ImportDesk:
    """Performs the effects of :class:`~piwheels.master.logic.imports.Imports`, over *ports*.

    *reply* sends a tool its reply: address, message, data.
    """

    def __init__(
        self,
        ports: Ports,
        task: Task,
        reply: Callable[[bytes, str, Any], None],
        clock: Clock = SYSTEM,
    ) -> None:
        self.imports = Imports()
        self._ports, self._task, self._reply, self._clock = ports, task, reply, clock
        self._logger = task.logger
        self._db = DbClient(ports, PATIENCE)
        self._fs = FsClient(ports, PATIENCE)

    def begin(self, address: bytes, build: BuildState, owner: str = "") -> None:
        """Begin an import for the tool at *address*; see ``Imports.begin``. Raises ``Refused``."""
        self._perform(self.imports.begin(address, build, owner))

    def sent(self, address: bytes) -> None:
        """Have the file verified that a tool has sent. Raises ``Refused``."""
        self._perform(self.imports.sent(address))

    def cancel(self, address: bytes) -> None:
        """Undo the import of the tool at *address*, if it has one."""
        self._perform(self.imports.cancel(address, "its tool has abandoned it"))

    def tick(self) -> None:
        """End imports whose tool is silent."""
        self._perform(self.imports.tick())

    def _perform(self, decided: Iterable[ImportEffect]) -> None:
        for effect in decided:
            match effect:
                case effects.Reply(address, msg, data):
                    self._reply(address, msg, data)
                case effects.Warn(_, _, text):
                    self._logger.warning("import: %s", text)
                case effects.AskPublished(number, package, version):
                    self._db.ask(self._continue(number), "get_published", package, version)
                case effects.LogBuild(number, build):
                    own = dataclasses.replace(build, slave_id=0)  # no slave has built it
                    self._db.ask(self._continue(number), "log_build", own)
                case effects.Expect(number, state, publish_as):
                    owner = self.imports.queues[number][0].owner
                    self._fs.expect(number, state, publish_as, self._continue(number), owner)
                case effects.Verify(number, package):
                    self._fs.verify(number, package, self._continue(number))
                case effects.WithdrawFiles(number, package, filenames):
                    self._fs.withdraw(number, package, filenames, self._continue(number))
                case effects.AskMissingBytes(number):
                    self._ask_missing(number)
                case effects.BuildStored(build):
                    self._stored(build)
                case _:
                    assert_never(effect)

    def _continue(self, number: int) -> Callable[[Result[Any]], None]:
        """Return a callback that continues the import *number* with an answer."""
        import_ = self.imports.queues[number][0]
        step = import_.step

        def then(result: Result[Any]) -> None:
            queue = self.imports.queues.get(number)
            # Otherwise the import has been abandoned in the meantime.
            if queue and queue[0] is import_ and import_.step is step:
                value, error = result
                try:
                    self._perform(self.imports.answered(number, value, error))
                except Exception as exc:  # noqa: BLE001 (one import never ends the task)
                    error = self._task.unexpected(f"the import {number}", exc)
                    self._perform(self.imports.answered(number, None, error))

        return then

    def _ask_missing(self, number: int) -> None:
        import_ = self.imports.queues[number][0]

        def then(result: Result[int | None]) -> None:
            queue = self.imports.queues.get(number)
            if queue and queue[0] is import_ and result.error is None:
                now = self._clock.monotonic()
                self._perform(self.imports.progress(number, result.value, now))

        self._fs.missing(number, then)

    def _stored(self, build: BuildState) -> None:
        self._logger.info(
            "imported %s %s for %s: %s",
            build.package, build.version, build.abi_tag, ", ".join(build.files),
        )  # fmt: skip
        log = WriteLog(cast("int", build.build_id), build.output)
        for request in (log, RewritePages("BOTH", build.package)):
            self._ports.ask("web", request, self._requested)

    def _requested(self, result: Result[Any]) -> None:
        if result.error is not None:
            self._logger.error("TheSecretary did not accept a request: %s", result.error)
