"""Lock files: what ``piw-up -r FILE`` builds, and the lock file that it writes.

:mod:`.entries` understands the formats, :mod:`.order` sorts by build dependencies (both pure);
:mod:`.reading` reads a file, :mod:`.lookups` asks pip and :mod:`.work` drives the farm;
:mod:`.writing` writes the result.
"""
