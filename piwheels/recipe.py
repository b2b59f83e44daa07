"""piw-recipe: the recipes with which the builds of projects begin."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass
from datetime import datetime, timedelta  # noqa: TC003 (the types of options)
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from piwheels.core.errors import BadMessage, Fatal, Refused
from piwheels.core.keys.options import farm_of, key_option, master_key_option
from piwheels.core.program.admin import (
    explaining,
    moment,
    package_name,
    queue_option,
    yes_option,
)
from piwheels.core.program.command_line import Common, option, program, usage_error
from piwheels.core.program.options import duration, size
from piwheels.core.program.report import Report, json_option
from piwheels.core.program.terminal import confirmed
from piwheels.core.recipes import PLAIN, Recipe, to_toml
from piwheels.core.wheels.tags import canonical
from piwheels.core.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from piwheels.core.farm import Farm
    from piwheels.core.protocols import StoredRecipe

Action = Literal["list", "show", "set", "remove", "export", "import"]
_HEADINGS: Final = ("project", "by", "files", "recipe")
#: The largest file of recipes, in bytes.
MAX_FILE: Final = 16 * 2**20
#: How a file may spell a field other than as a number.
_SPELLINGS: Final[Mapping[str, Callable[[str], float]]] = {
    "timeout": lambda text: duration(text).total_seconds(),
    "release_plus": lambda text: duration(text).total_seconds(),
    "memory": size,
}


def _variable(text: str) -> str:
    name, equals, _ = text.partition("=")
    if not (name and equals):
        raise ValueError(f"{text!r} is not NAME=VALUE")
    return text


@dataclass(frozen=True, kw_only=True)
class RecipeConfig(Common):
    """List, set, remove and share recipes: the settings with which the builds of projects begin.

    The farm finds recipes itself, when a build works with one that fails without. A recipe of an
    operator takes the place of such a one, and stays.
    """

    action: Action = option(
        default="list", positional=True,
        choices=("list", "show", "set", "remove", "export", "import"),
        help="list all recipes (the default); show one; set that of a project; remove it; write"
        " recipes as TOML; or set those of a file",
    )  # fmt: skip
    names: list[str] = option(
        default=[], positional=True, metavar="NAME",
        help="projects; for set one project and, if you like, a file with its recipe; for import a"
        " file",
    )  # fmt: skip
    constraint: list[str] = option(
        default=[], metavar="REQUIREMENT",
        help="for set: limit the versions of what the build requires: 'setuptools<58' (can be"
        " repeated)",
    )  # fmt: skip
    requires: list[str] = option(
        default=[],
        metavar="REQUIREMENT",
        help="for set: the build requires this, too: numpy (can be repeated)",
    )
    apt: list[str] = option(
        default=[], metavar="PACKAGE",
        help="for set: a package of Debian that only this build sees: libfoo-dev (can be repeated)",
    )  # fmt: skip
    env: list[str] = option(
        default=[], metavar="NAME=VALUE", parse=_variable,
        help="for set: a variable of the environment (can be repeated)",
    )  # fmt: skip
    pip_option: list[str] = option(
        default=[],
        metavar="OPTION",
        help="for set: an option of pip: --pip-option=--pre (can be repeated)",
    )
    host: list[str] = option(
        default=[],
        metavar="HOST",
        help="for set: the build may reach this HOST or HOST:PORT (can be repeated)",
    )
    before: datetime | None = option(
        default=None, metavar="WHEN", parse=moment,
        help="for set: hide from the build what was uploaded later, such as 2021-06-01",
    )  # fmt: skip
    release_plus: timedelta | None = option(
        default=None, metavar="DURATION",
        help="for set: hide from the build what was uploaded this long after its source, or later",
    )  # fmt: skip
    timeout: timedelta | None = option(
        default=None, metavar="DURATION", help="for set: the build may take so long"
    )
    memory: int | None = option(
        default=None, metavar="SIZE", parse=size, help="for set: the build may use so much memory"
    )
    using: str = option(
        default="", metavar="TEXT",
        help="for list and export: only recipes that use this, such as 'cython<3' or libfoo-dev",
    )  # fmt: skip
    new_only: bool = option(
        default=False, help="for set and import: do not build again what it could cure"
    )
    preview: bool = option(
        default=False, help="for set and import: say what would happen, and change nothing"
    )
    yes: bool = yes_option()
    json: bool = json_option()
    import_queue: str = queue_option()
    key: Path | None = key_option()
    master_key: list[str] = master_key_option()

    @property
    def recipe(self) -> Recipe:
        """The recipe that the options describe."""
        return Recipe(
            constraints=tuple(self.constraint),
            requires=tuple(self.requires),
            before=self.before,
            release_plus=self.release_plus,
            environment=dict(text.split("=", 1) for text in self.env),
            apt=tuple(self.apt),
            options=tuple(self.pip_option),
            hosts=tuple(self.host),
            timeout=self.timeout,
            memory=self.memory or 0,
        )


@program(
    "piw-recipe",
    RecipeConfig,
    examples=[
        ("piw-recipe", "list the recipes of all projects, and how many files they made"),
        ("piw-recipe set demjson --constraint 'setuptools<58'", "build with older setuptools"),
        ("piw-recipe set pyaudio --apt portaudio19-dev", "build with a package of Debian"),
        ("piw-recipe set foo foo.toml --timeout 6h", "take a recipe from a file, and change it"),
        ("piw-recipe list --using 'cython<3'", "list the projects that use a setting"),
        ("piw-recipe export > recipes.toml", "share the recipes of this farm"),
        ("piw-recipe import recipes.toml --preview", "say what the recipes of others would build"),
    ],
)
def main(config: RecipeConfig) -> int:
    """Run ``piw-recipe``."""
    if why := _misuse(config):
        usage_error("piw-recipe", config, why)
    with farm_of(config) as farm:
        _ACTIONS[config.action](config, farm, Report(config))
    return 0


def _misuse(config: RecipeConfig) -> str:
    """Return what is wrong with the options; ``""``: nothing."""
    least, most, words = _NUMBERS[config.action]
    if not least <= len(config.names) <= most:
        return f"{config.action} needs {words}"
    if config.action != "import":
        try:
            for name in config.names[:1] if config.action == "set" else config.names:
                package_name(name)
        except ValueError as exc:
            return str(exc)
    changes = config.action in ("set", "import")
    if config.recipe != PLAIN and config.action != "set":
        return "the settings of a recipe are for set"
    if (config.preview or config.new_only) and not changes:
        return "--preview and --new-only are for set and import"
    if config.using and config.action not in ("list", "export"):
        return "--using is for list and export"
    return ""


# Reading ------------------------------------------------------------------------------------------


def _chosen(config: RecipeConfig, farm: Farm) -> list[StoredRecipe]:
    names = set(map(canonical, config.names))
    found = [row for row in farm.recipes() if not names or row.package in names]
    if missing := names - {row.package for row in found}:
        raise Fatal(f"without a recipe, or not known here: {', '.join(sorted(missing))}")
    return [row for row in found if config.using in "\n".join(_words(row.recipe))]


def _words(recipe: Recipe) -> list[str]:
    return recipe.words or ["nothing"]


def _by(row: StoredRecipe) -> str:
    return "an operator" if row.by_operator else "the farm"


def _record(report: Report, row: StoredRecipe) -> None:
    report.record(
        event="recipe", package=row.package, by="operator" if row.by_operator else "farm",
        since=row.since, files=row.files, recipe=row.recipe.to_map(),
    )  # fmt: skip


def _list(config: RecipeConfig, farm: Farm, report: Report) -> None:
    rows = _chosen(config, farm)
    for row in rows:
        _record(report, row)
    if config.json or config.quiet:
        return
    if not rows:
        sys.stdout.write("no project has such a recipe\n" if config.using else "no recipes yet\n")
        return
    columns = [
        (row.package, _by(row), str(row.files), "; ".join(_words(row.recipe))) for row in rows
    ]
    lines = [_HEADINGS, *columns]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        text = "  ".join(each.ljust(width) for each, width in zip(line, widths, strict=True))
        sys.stdout.write(f"{text.rstrip()}\n")


def _show(config: RecipeConfig, farm: Farm, report: Report) -> None:
    for row in _chosen(config, farm):
        _record(report, row)
        if not config.json:
            made = counted(row.files, "file")
            sys.stdout.write(
                f"# by {_by(row)}, {row.since:%Y-%m-%d}; {made} made with recipes\n"
                f"{to_toml({row.package: row.recipe})}"
            )


def _export(config: RecipeConfig, farm: Farm, report: Report) -> None:
    rows = _chosen(config, farm)
    for row in rows:
        _record(report, row)
    if not config.json:
        sys.stdout.write(to_toml({row.package: row.recipe for row in rows}))


# Changing -----------------------------------------------------------------------------------------


def _set(config: RecipeConfig, farm: Farm, report: Report) -> None:
    name, *files = config.names
    recipe = config.recipe
    for file in files:
        recipe = _only(Path(file), _read(Path(file))).merged(recipe)
    _check(name, recipe)
    if recipe == PLAIN:
        usage_error("piw-recipe", config, "give a file, or settings: --constraint, --apt, ...")
    _store(config, farm, report, {canonical(name): recipe})


def _import(config: RecipeConfig, farm: Farm, report: Report) -> None:
    path = Path(config.names[0])
    recipes: dict[str, Recipe] = {}
    for name, content in _read(path).items():
        where = f"{path}: [{name}]"
        try:
            package = canonical(package_name(name))
        except ValueError as exc:
            raise Fatal(f"{where} {exc}") from None
        if package in recipes:
            raise Fatal(f"{where} {package} is named twice")
        if not isinstance(content, dict):
            raise Fatal(f"{path}: {name}: a recipe is a table: [{name}]")
        recipes[package] = _recipe(where, content)
        _check(where, recipes[package])
    if not recipes:
        raise Fatal(f"{path} has no recipes")
    _store(config, farm, report, recipes)


def _store(config: RecipeConfig, farm: Farm, report: Report, recipes: dict[str, Recipe]) -> None:
    """Set *recipes*, after a preview of what they build again and a question."""
    retry = not config.new_only
    counts: dict[str, int] = {}
    for package, recipe in recipes.items():
        try:
            counts[package] = farm.set_recipe(package, recipe, retry=retry, preview=True)
        except Refused as exc:
            if exc.code != "NOPKG" or config.action == "set":
                with explaining(package):
                    raise
            text = f"left out: {package} is not known here"
            report.write(text, event="left-out", package=package)
    repeats = f", and repeat {counted(sum(counts.values()), 'failed build')}" if retry else ""
    if config.preview:
        for package, count in counts.items():
            text = f"{package}: {'; '.join(_words(recipes[package]))}: would repeat {count} failed"
            report.write(
                f"{text} {'build' if count == 1 else 'builds'}", event="preview", package=package,
                recipe=recipes[package].to_map(), builds=count,
            )  # fmt: skip
        return
    if not counts:
        raise Fatal("nothing was changed")
    [first, *others] = counts
    whose = f"{len(counts)} projects" if others else first
    what = "" if others else f" ({'; '.join(_words(recipes[first]))})"
    if not confirmed(f"set the recipe of {whose}{what}{repeats}", yes=config.yes):
        raise Fatal("nothing was changed")
    for package in counts:
        count = farm.set_recipe(package, recipes[package], retry=retry)
        report.write(
            f"set the recipe of {package}; {counted(count, 'failed build')} will be repeated",
            event="set", package=package, recipe=recipes[package].to_map(), builds=count,
        )  # fmt: skip


def _remove(config: RecipeConfig, farm: Farm, report: Report) -> None:
    rows = _chosen(config, farm)
    names = [row.package for row in rows]
    if not confirmed(f"remove the recipe of {', '.join(names)}", yes=config.yes):
        raise Fatal("nothing was changed")
    for name in names:
        farm.set_recipe(name, PLAIN)
        report.write(f"removed the recipe of {name}", event="removed", package=name)


# Files --------------------------------------------------------------------------------------------


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_FILE:
            raise Fatal(f"{path} is larger than {MAX_FILE:,} bytes")
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise Fatal(f"cannot read {path}: {exc}") from exc


def _only(path: Path, document: dict[str, Any]) -> Recipe:
    """Return the only recipe of a file: it may be a table of its own, as export writes it."""
    tables = [name for name in document if name not in Recipe._fields]
    if len(document) == 1 and tables and isinstance(document[tables[0]], dict):
        return _recipe(f"{path}: [{tables[0]}]", document[tables[0]])
    return _recipe(f"{path}:", document)


def _recipe(where: str, content: dict[str, Any]) -> Recipe:
    """Return the recipe of a file. Raises ``Fatal`` with the place of what is wrong."""
    values = dict(content)
    try:
        for name, parse in _SPELLINGS.items():
            if isinstance(values.get(name), str):
                values[name] = parse(values[name])
        return Recipe.from_map(values)
    except (BadMessage, ValueError) as exc:
        raise Fatal(f"{where} {exc}") from exc


def _check(where: str, recipe: Recipe) -> None:
    if faults := recipe.faults:
        raise Fatal(f"{where} {'; '.join(faults)}")


_ANY: Final = sys.maxsize
#: How many names each action needs, at least and at most, and that in words.
_NUMBERS: Final[Mapping[Action, tuple[int, int, str]]] = {
    "list": (0, _ANY, "names of projects, or none"),
    "show": (1, _ANY, "the name of a project"),
    "set": (1, 2, "the name of a project, and at most one file"),
    "remove": (1, _ANY, "the name of a project"),
    "export": (0, _ANY, "names of projects, or none"),
    "import": (1, 1, "the name of one file"),
}
_ACTIONS: Final[Mapping[Action, Callable[[RecipeConfig, Farm, Report], None]]] = {
    "list": _list, "show": _show, "set": _set, "remove": _remove, "export": _export,
    "import": _import,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
