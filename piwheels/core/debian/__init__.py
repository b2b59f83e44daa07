"""Which packages of Debian have a header, a library, a program, or what a build system looks for.

A table for each release ships with the package; ``make.py`` makes it.
"""
