"""The container files name only what exists: paths, programs, options, stages and services."""

import re
import shlex
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from piwheels.core.program.command_line import load
from piwheels.core.program.options import options
from test_programs import load as program

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "docs/deploy"
CONTAINERFILE = (DEPLOY / "Containerfile").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
#: The stages of the Containerfile with their instructions.
STAGES = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM|\Z)", CONTAINERFILE, re.M | re.S))
HOME = {"HOME": "/nonexistent"}


def ignored(path):
    """Return whether the build leaves *path* out, by the last matching line."""
    found = False
    for line in (ROOT / ".containerignore").read_text().splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        parents = [path, *map(str, Path(path).parents)]
        if line[:1] != "#" and any(fnmatch(each, pattern) for each in parents):
            found = not line.startswith("!")
    return found


def test_the_build_gets_what_the_project_needs():
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {
        "pyproject.toml", PROJECT["project"]["readme"], *PROJECT["project"]["license-files"],
        *wheel["packages"], *wheel["force-include"], *wheel["shared-data"],
    }  # fmt: skip
    assert {path for path in needed if ignored(path) or not (ROOT / path).exists()} == set()
    assert all(ignored(path) for path in (".git", ".venv", "tests", "docs/deploy", ".env"))


def test_the_stages_use_what_exists():
    extras = PROJECT["project"]["optional-dependencies"]
    for names in re.findall(r'"/src\[(.*?)\]"', CONTAINERFILE):
        assert set(names.split(",")) <= set(extras)
    assert set(re.findall(r"COPY --from=(\S+)", CONTAINERFILE)) <= set(STAGES)
    for name in ("master", "slave"):
        assert re.search(r"^USER piw\w+$", STAGES[name], re.M), "no program runs as root"
        [command] = re.findall(r'^CMD \["(.*)"\]$', STAGES[name], re.M)
        prog = program(command)
        settings = dict(re.findall(r"(PIW_\w+)=(\S+)", STAGES[name]))
        assert settings.keys() <= {opt.variable for opt in options(prog.config)}
        assert load(command, prog.config, [], HOME | settings)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_valid(name):
    service = SERVICES[name]
    if "build" in service:
        assert service["build"]["target"] in STAGES
        context = DEPLOY / service["build"]["context"]
        assert (context / service["build"]["dockerfile"]).samefile(DEPLOY / "Containerfile")
        command, *words = service["command"]
        prog = program(command)
        settings = service.get("environment", {})
        assert settings.keys() <= {opt.variable for opt in options(prog.config)}
        assert load(command, prog.config, words, HOME | settings)
    for other, how in service.get("depends_on", {}).items():
        assert other in SERVICES
        healthy = how["condition"] == "service_healthy"
        assert not healthy or "healthcheck" in SERVICES[other]
    assert set(service["networks"]) <= COMPOSE["networks"].keys()
    for source, _, _ in (mount.partition(":") for mount in service.get("volumes", [])):
        assert source in COMPOSE["volumes"] or (DEPLOY / source).is_file()


def test_builds_reach_no_database():
    assert not set(SERVICES["slave"]["networks"]) & set(SERVICES["database"]["networks"])


def test_the_ports_fit_together():
    master = program("piw-master")
    config = load("piw-master", master.config, SERVICES["master"]["command"][1:], HOME)
    assert f":{config.monitor_port}/healthz" in SERVICES["master"]["healthcheck"]["test"][-1]
    served = load("piw-serve", program("piw-serve").config, SERVICES["web"]["command"][1:], HOME)
    assert SERVICES["web"]["ports"] == [f"127.0.0.1:8080:{served.port}"]
    assert "EXPOSE 5555 5556 8080" in STAGES["master"]


def test_the_document_names_each_service_and_valid_commands():
    text = (ROOT / "docs/containers.md").read_text()
    for name in SERVICES:
        assert f"| `{name}` |" in text
    for line in re.findall(r"exec master (piw-.*)", text.partition("| service")[0]):
        name, *words = shlex.split(line)
        assert load(name, program(name).config, words, HOME)
    variables = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    assert {name for name in variables if name not in text} == set()
