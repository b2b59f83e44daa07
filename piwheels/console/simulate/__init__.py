"""A farm that is not there: the master's side of the consoles' sockets, with a life of its own.

For demonstrations, for pictures of the screens, and for tests: no slave, no database, no build.
"""
