"""The sandbox of builds for another architecture: that of bubblewrap, with another system in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from piwheels.core.errors import Fatal
from piwheels.slave.sandbox.bubblewrap import Bubblewrap, filtered

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Self

    from piwheels.slave.emulation.root import Root
    from piwheels.slave.sandbox.view import View


class Emulated(Bubblewrap):
    """Runs each build as :class:`Bubblewrap` does, with the system *root* instead of this one.

    *view* are this machine's paths that it reads, too.
    """

    def __init__(self, program: str, view: View, root: Root) -> None:
        super().__init__(program, view)
        self._root = root

    def overlaid(self, layer: Path) -> Self:
        """Raise :exc:`LookupError`: the packages of the machine are not those of *root*."""
        raise LookupError("an emulated system cannot show packages to one build only")

    def command(self, work: Path, command: Sequence[str], port: int | None = None) -> list[str]:
        """Return the command that runs *command* of the root; as in :class:`Bubblewrap`.

        The filter of system calls is this machine's, so it comes before the sandbox. Raises
        :exc:`~piwheels.core.errors.Fatal` if qemu is gone.
        """
        try:
            return self._root.emulating(filtered(self.unfiltered(work, command, port)))
        except LookupError as error:
            raise Fatal(str(error)) from error

    def _system(self) -> list[tuple[str, ...]]:
        root = self._root
        options = (*root.variables(), *root.mounts(self._view.paths))
        return [options, *super()._system()]
