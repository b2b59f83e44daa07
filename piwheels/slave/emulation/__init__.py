"""Builds for machines of other architectures, in Debian roots that qemu runs.

:func:`~piwheels.slave.emulation.offers.interpreters` returns the interpreters of such roots, and
:class:`~piwheels.slave.emulation.sandbox.Emulated` is the sandbox of their builds.
"""
