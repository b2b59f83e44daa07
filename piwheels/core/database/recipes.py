"""Recipes of projects, and failed builds that are tried again with one."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Final

from piwheels.core.database.connection import Client, clean
from piwheels.core.database.rows import StandingFailure
from piwheels.core.errors import BadMessage
from piwheels.core.protocols import StoredRecipe
from piwheels.core.recipes import PLAIN, Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from piwheels.core.database.rows import NewAttempt

#: The number of recipes, or of failures, in one part of a result that exceeds a message.
PART: Final = 1000
#: Comes after the name of every package.
LAST: Final = "~"


class Recipes(Client):
    """The queries of MrChase about recipes and attempts."""

    def get_recipes(self, after: str, limit: int = PART) -> list[StoredRecipe]:
        """Return the first *limit* recipes of projects after the package *after*, by name."""
        return [
            StoredRecipe(package, readable(content, package), *rest)
            for package, content, *rest in self._rows("get_recipes", clean(after), limit)
        ]

    def set_recipe(self, package: str, recipe: Recipe) -> bool:
        """Have the builds of *package* begin with an operator's *recipe*; a plain one: with none.

        Return whether that is a change; the pages of *package* are then scheduled.
        """
        content = json.dumps(recipe.to_map())
        return bool(self._value("set_recipe", clean(package), content))

    def get_standing(
        self, after: tuple[str, int], last: str, planned: bool = False, limit: int = PART
    ) -> list[StandingFailure]:
        """Return the first *limit* failures that stand, after a package and a build of it.

        They are in this order, up to the package *last* (:data:`LAST`: all). *planned*: also those
        that are to be tried again later. Builds without a platform are left out.
        """
        rows = self._rows("get_standing", clean(after[0]), after[1], clean(last), planned, limit)
        return [_standing(row) for row in rows]

    def retry_builds(self, attempts: Sequence[NewAttempt]) -> list[str]:
        """Have failed builds tried again, unless that is in the queue already.

        Return the package of each; the pages of the packages are scheduled.
        """
        rows = [
            {
                "build_id": each.build_id,
                "attempt": each.number,
                "tried": list(map(clean, each.tried)),
                "recipe": each.recipe.to_map(),
            }
            for each in attempts
        ]
        return self._column("retry_builds", json.dumps(rows))


def _standing(row: Sequence[Any]) -> StandingFailure:
    *about, recipe, failed, held = row
    package, values = row[1], [*about, readable(recipe, row[1])]
    return StandingFailure._make([*values, list(_all(failed, package)), held])


def _all(contents: Sequence[Mapping[str, Any]], package: str) -> Iterator[Recipe]:
    for content in contents:
        if (recipe := readable(content, package)) != PLAIN:
            yield recipe


def readable(content: Mapping[str, Any] | None, package: str) -> Recipe:
    """Return the stored recipe *content*; a plain one if this version cannot read it."""
    try:
        return Recipe.from_map(content or {})
    except BadMessage as exc:  # one row must not stop the others
        logging.getLogger("database").warning("a recipe of %s is left out: %s", package, exc)
        return PLAIN
