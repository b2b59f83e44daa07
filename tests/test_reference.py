"""Every name of the module reference is there, with the parameters that it documents."""

import importlib
import inspect
import json
from operator import attrgetter
from pathlib import Path

import pytest

NAMES = json.loads((Path(__file__).parent / "data" / "names.json").read_text())["names"]


@pytest.mark.parametrize(
    "entry",
    NAMES,
    ids=lambda entry: f"{entry['module']}.{entry['name']}",
)
def test_documented_name(entry):
    thing = attrgetter(entry["name"])(importlib.import_module(entry["module"]))
    if entry["params"] is None or isinstance(thing, property):
        return
    parameters = inspect.signature(thing).parameters
    names = [("*" if p.kind is p.VAR_POSITIONAL else "") + p.name for p in parameters.values()]
    documented = [name for name in names if name in entry["params"]]
    assert documented == entry["params"]
    # What is beyond the documented ones can be left out.
    for name, parameter in parameters.items():
        if name not in ("self", "cls") and name not in entry["params"]:
            assert parameter.default is not parameter.empty or parameter.kind in (
                parameter.VAR_POSITIONAL,
                parameter.VAR_KEYWORD,
            ), name
