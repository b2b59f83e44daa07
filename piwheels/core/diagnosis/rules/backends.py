"""Rules for build backends, and for the pyproject.toml that names them. Pure."""

from __future__ import annotations

from typing import Final

from piwheels.core.diagnosis.rule import SPECIFIC, VERDICT, Rule

RULES: Final = (
    Rule("hook-missing", "bad-backend", "HookMissing", r"HookMissing(?:: '?([\w.]+))?", "{0}", VERDICT, 0.9, "pip"),
    Rule("unsupported-hook", "bad-backend", "UnsupportedOperation", r"UnsupportedOperation: (.*)", "{0}", SPECIFIC, 0.6),
    Rule("backend-attribute", "bad-backend", "has no attribute ", r"module '([\w.]+)' has no attribute '(?:build_wheel|get_requires_for_build_wheel|prepare_metadata_for_build_wheel|build_sdist|__legacy__)'", "{0}", SPECIFIC + 2, 0.95),
    Rule("backend-object", "bad-backend", "has no attribute ", r"'(\w+)' object has no attribute '(?:build_wheel|get_requires_for_build_wheel|prepare_metadata_for_build_wheel)'", "{0}", SPECIFIC + 2, 0.9),
    Rule("backend-path", "bad-backend", "ackend-path", r"(?:Backend was not loaded from backend-path|`?backend-path`? .*(?:must|not|outside).*)", "backend-path", SPECIFIC + 2, 0.9),
    Rule("pep-518", "bad-backend", "PEP 518", r"does not comply with PEP 518(.*)", "build-system", VERDICT, 0.95, "pip"),
    Rule("pep-517", "bad-backend", "pyproject.toml", r"^ERROR: .*pyproject\.toml.*(?:does not comply|is invalid|malformed|missing.*build-backend|has a .* that)", "build-system", VERDICT, 0.9, "pip"),
    Rule("toml-invalid", "bad-backend", "TOMLDecodeError", r"TOMLDecodeError: (.*)", "pyproject.toml: {0}", SPECIFIC + 1, 0.85),
    Rule("toml-invalid-for-pip", "bad-backend", "rror while parsing", r"^ERROR: (?:Error|Cannot) (?:while )?pars\w+ .*pyproject\.toml", "pyproject.toml", VERDICT, 0.9, "pip"),
    Rule("backend-made-nothing", "bad-backend", "uild backend", r"[Bb]uild backend.*(?:returned|did not (?:return|produce|create))", "it made no wheel", SPECIFIC, 0.8),
    Rule("no-metadata-directory", "bad-backend", "o .egg-info directory", r"No \.egg-info directory found in (\S+)", "setup.py writes no metadata", VERDICT, 0.8, "pip"),
    Rule("no-setup-call", "bad-backend", "No distribution was found", r"No distribution was found\. Ensure that `?setup\.py`? is not empty", "setup.py calls no setup()", SPECIFIC, 0.8),
    Rule("dist-info-missing", "bad-backend", "dist-info directory", r"(?:^ERROR: |AssertionError: |BadMetadata: ).*(?:\.dist-info directory not found|[Nn]o \.dist-info|multiple \.dist-info)", "no metadata", SPECIFIC, 0.8),
    Rule("wheel-name-invalid", "invalid-metadata", "InvalidWheelFilename", r"Invalid[wW]heelFilename: (.*)|InvalidWheelFilename", "the name of the wheel", SPECIFIC, 0.8),
    Rule("invalid-name", "invalid-metadata", "nvalid distribution name", r"[Ii]nvalid distribution name or version syntax: (.*)", "{0}", SPECIFIC, 0.9),
    Rule("invalid-project-version", "invalid-metadata", "nvalid version", r"(?:[Ii]nvalid version:? (?:in .*?: ?)?|does not (?:match|follow) PEP 440:? )'?([^'\s]+)'?.*PEP ?440", "the version {0}", 48, 0.8),
    Rule("hatch-version", "invalid-metadata", "rror getting the version", r"Error getting the version from source `?(\w+)`?: (.*)", "its version: {1}", SPECIFIC, 0.8),
    Rule("hatch-no-files", "incomplete-source", "nable to determine which files to ship", r"Unable to determine which files to ship", "a package named as the project", SPECIFIC, 0.85),
    Rule("hatch-field", "invalid-metadata", "Field `project.", r"(?:ValueError|TypeError): (?:.*)?Field `project\.([\w.-]+)`", "project.{0}", SPECIFIC, 0.9),
    Rule("hatch-classifier", "invalid-metadata", "nknown classifier", r"[Uu]nknown classifier in field `?(?:project\.)?classifiers`?: (.*)", "the classifier {0}", SPECIFIC, 0.9),
    Rule("both-readmes", "incomplete-source", "eadme file does not exist", r"[Rr]eadme file does not exist: (\S+)", "{0}", SPECIFIC, 0.95),
    Rule("poetry-module", "incomplete-source", "o file/folder found for package", r"No file/folder found for package (\S+)", "the package {0}", SPECIFIC, 0.9),
    Rule("poetry-readme", "incomplete-source", "does not exist", r"(?:Declared|The) (?:README|readme|license) file does not exist: (\S+)", "{0}", SPECIFIC, 0.9),
    Rule("dynamic-field", "invalid-metadata", "dynamic", r"(?:[Ff]ield|metadata) [`'\"]?(?:project\.)?(\w+)[`'\"]? .*(?:listed|declared|in|as) [`'\"]?(?:project\.)?dynamic", "{0} is dynamic", 48, 0.8),
    Rule("setup-name-missing", "invalid-metadata", "ust be ", r"error in .* setup command: '?(\w+)'? must be", "{0}", 48, 0.8),
    Rule("entry-point-invalid", "invalid-metadata", "nvalid ", r"[Ii]nvalid (?:entry point|object reference)[^:]*: ?(.*)", "entry point {0}", SPECIFIC, 0.85),
)  # fmt: skip
