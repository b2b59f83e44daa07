"""Runs the wheels of tests/hostile/wheels.py."""

from collections import Counter
from functools import cache

from hostile.wheels import CODE, corpus, make
from piwheels.core.errors import BadWheel
from piwheels.core.wheels.integrity import verify_wheel


@cache
def wheels():
    return list(corpus())


def outcome(path, wheel):
    """Return why *wheel* is refused; ``""`` if it is not."""
    path.write_bytes(wheel.data)
    try:
        verify_wheel(path, package="demo-pkg", version="1.0", filename=wheel.filename)
    except BadWheel as error:
        return str(error)
    return ""


def test_each_wheel_is_refused_with_its_reason_or_published(tmp_path):
    wrong = []
    for wheel in wheels():
        why = outcome(tmp_path / "upload.tmp", wheel)
        if bool(why) != bool(wheel.words) or not all(word in why for word in wheel.words):
            wrong.append(f"{wheel.what}: {why or 'published'}")
    assert not wrong, "\n" + "\n".join(wrong)


def test_the_corpus_is_large_and_tries_nothing_twice():
    assert len(wheels()) >= 150
    counts = Counter(wheel.what for wheel in wheels())
    assert [what for what, count in counts.items() if count > 1] == []


def test_an_operator_can_permit_code_at_the_start(tmp_path):
    path = tmp_path / "demo_pkg-1.0-py3-none-any.whl"
    path.write_bytes(make({"demo.pth": CODE}))
    assert verify_wheel(path, may_have_pth={"demo-pkg"}).name == "demo-pkg"
