"""Where things are on the site, for those who write it and those who read it. Pure."""

from __future__ import annotations

import re

_ADDRESS = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+(?:/[A-Za-z0-9._~!$'()*+,=:@%-]+)*/?", re.ASCII)


def log_name(build_id: int) -> str:
    """Return where the log of a build is, below the site: its number in parts of four digits.

    Raises ``ValueError`` for what is not the number of a build.
    """
    if not 0 <= build_id < 10**12:
        raise ValueError(f"{build_id} is not the number of a build")
    digits = f"{build_id:012d}"
    return f"logs/{digits[:4]}/{digits[4:8]}/{digits[8:]}.txt.gz"


def site_address(text: str) -> str:
    """Return the address of a site, with a slash at its end; ``""`` stays: it is not known.

    Raises ``ValueError`` for what is no plain address of a folder.
    """
    if text and not _ADDRESS.fullmatch(text):
        raise ValueError(f"{text!r} is not the address of a site: write https://HOST/")
    return f"{text.rstrip('/')}/" if text else ""
