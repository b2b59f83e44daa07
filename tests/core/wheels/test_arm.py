"""Build attributes of ARM, as pyelftools reads them; whatever they are, reading them ends."""

from __future__ import annotations

import io

from elftools.elf.elffile import ELFFile
from elftools.elf.enums import ENUM_ATTR_TAG_ARM
from hypothesis import given
from hypothesis import strategies as st

from hostile.wheels import ARMV6, attributes, elf_for, scope
from piwheels.core.wheels.arm import read_attributes, why_not_armv6
from piwheels.core.wheels.dependencies import read_elf

SECTION = attributes(scope(b"\5ARM1176\0\x20\1gnu\0" + bytes(sum(ARMV6.items(), ()))))
#: The tags that pyelftools knows, with numbers as values.
TAGS = [tag for tag in range(6, 47) if tag not in (32, 33, 35, 37, 39, 40, 41, 43, 45)]


@given(st.dictionaries(st.sampled_from(TAGS), st.integers(0, 127)))
def test_attributes_are_those_that_pyelftools_reads(values: dict[int, int]) -> None:
    content = b"".join(bytes(pair) for pair in values.items())
    data = elf_for(False, 40, 0x5000400, attributes(scope(b"\5name\0" + content)))
    section = ELFFile(io.BytesIO(data)).get_section(1)
    (part,) = section.iter_subsections()
    (file,) = part.iter_subsubsections()
    known = {ENUM_ATTR_TAG_ARM[each.tag]: each.value for each in file.iter_attributes()}
    found = read_elf(data)
    assert found is not None
    assert found.arm == {tag: {known[tag]} for tag in values}
    assert known.keys() - values.keys() <= {1, 5}  # the scope, and the name


def test_texts_are_skipped() -> None:
    assert read_attributes(SECTION, "<") == {32: {1}} | {tag: {at} for tag, at in ARMV6.items()}
    assert read_attributes(SECTION, ">") is None


@given(st.integers(0, len(SECTION) - 1), st.binary(max_size=8))
def test_changed_attributes_are_read_or_refused(at: int, new: bytes) -> None:
    found = read_attributes(SECTION[:at] + new + SECTION[at + len(new) :], "<")
    assert found is None or isinstance(why_not_armv6(found), str)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    read_attributes(b"A" + data, "<")
    read_attributes(attributes(scope(data)), "<")
    read_attributes(attributes(data), "<")
