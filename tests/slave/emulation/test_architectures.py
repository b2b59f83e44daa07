"""The rules for the kernel, and the names of systems."""

import re
import struct

import pytest

from hostile.wheels import elf_for
from piwheels.core.wheels.platforms import MACHINES
from piwheels.slave.emulation.architectures import ARCHITECTURES, binfmt_rule, parse_systems

#: The name of each architecture in the tags of wheels.
NAMES = {
    "arm64": "aarch64", "armel": "armv5tel", "armhf": "armv7l", "ppc64el": "ppc64le",
    "riscv64": "riscv64", "s390x": "s390x",
}  # fmt: skip


def matches(rule, data):
    """Return whether the kernel runs the program *data* by *rule* (binfmt_misc.rst)."""
    _, _, kind, offset, magic, mask, _, flags = rule.decode().split(":")
    assert (kind, flags) == ("M", "PF")
    magic, mask = (
        bytes(int(byte, 16) for byte in re.findall(r"\\x(..)", text)) for text in (magic, mask)
    )
    part = data[int(offset) : int(offset) + len(magic)]
    return all((a ^ b) & m == 0 for a, b, m in zip(part, magic, mask, strict=True))


def header(name, kind=3):
    about = ARCHITECTURES[name]
    data = elf_for(about.bits == 64, about.machine, 0)
    if about.order == ">":
        data = data[:5] + b"\2" + data[6:16] + struct.pack(">HH", kind, about.machine) + data[20:]
    else:
        data = data[:16] + struct.pack("<H", kind) + data[18:]
    return data


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_rule_is_for_the_programs_of_its_architecture(name):
    rule = binfmt_rule(name, "/usr/bin/qemu")
    same = {each for each in ARCHITECTURES if matches(rule, header(each))}
    assert same == ({"armel", "armhf"} if name.startswith("arm") and name != "arm64" else {name})
    assert [kind for kind in range(5) if matches(rule, header(name, kind))] == [2, 3]
    assert matches(rule, header(name)[:7] + b"\3" + header(name)[8:])  # the OS ABI of GNU


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_wheels_of_each_architecture_can_be_verified(name):
    about, machine = ARCHITECTURES[name], MACHINES[NAMES[name]]
    assert machine[:3] == (about.bits // 32, "<>".index(about.order) + 1, about.machine)


def test_systems_have_an_architecture_and_may_have_a_release():
    found = parse_systems("armhf, riscv64/trixie,armhf")
    assert found == [("armhf", ""), ("riscv64", "trixie")]
    assert [str(each) for each in found] == ["armhf", "riscv64/trixie"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("armv7l", "'armv7l' cannot be emulated: choose among arm64, armel, armhf"),
        ("", "'' cannot be emulated"),
        ("armhf/", "'' is no release of Debian"),
        ("armhf/../x", "'../x' is no release of Debian: give one, such as trixie"),
        ("armhf/trixie;x", "is no release of Debian"),
    ],
)
def test_other_texts_name_no_systems(text, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        parse_systems(text)
