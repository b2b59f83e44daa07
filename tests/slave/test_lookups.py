"""What pip says about sources and requirements; tests/up has it at work."""

from piwheels.slave.lookups import needs_of, why

WRONG = """Collecting six==1.16.0
ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated
    six==1.16.0 from https://files.example/six-1.16.0.tar.gz (from -r /build/wanted.txt (line 1)):
        Expected sha256 0000000000000000000000000000000000000000000000000000000000000000
             Got        {}
"""
CONFLICT = """Collecting a
ERROR: Cannot install -r /build/wanted.txt (line 2) and a<2 because these conflict.
ERROR: ResolutionImpossible: for help visit https://pip.example/
"""


def test_what_a_build_has_fetched_are_its_requirements():
    assert needs_of(
        [
            "https://files.example/a/Demo_Project-1.0.tar.gz",
            "https://files.example/b/flit_core-3.12.0-py3-none-any.whl.metadata",
            "https://files.example/b/flit_core-3.12.0-py3-none-any.whl",
            "file:///srv/old%2Bname-1.0%2Blocal.tar.gz",
            "https://files.example/b/wheel-0.45.1.tar.gz",
        ],
        "demo-project",
    ) == [("flit-core", "3.12.0"), ("old+name", "1.0+local"), ("wheel", "0.45.1")]


def test_reasons():
    digest = "ab" * 32
    assert why(WRONG.format(digest)).startswith(f"its source has the hash {digest}, which")
    assert why(CONFLICT, ["a<2", "b>=3"]) == "Cannot install b>=3 and a<2 because these conflict."
    assert why("ERROR: Could not find a version (from versions: none)\n").endswith(": none)")
    assert why("error: no cargo\npiwheels: the build failed: pip ended\n") == "error: no cargo"
