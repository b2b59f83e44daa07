"""A simulated farm: a master's sockets for consoles, with invented slaves and builds.

For demonstrations, pictures of the screens, and tests. It needs no slave and no database.
"""
