"""The network of a build: a proxy on the slave, which mirrors the indexes and keeps a ledger.

Decisions are in :mod:`.pages` (the pages of an index), :mod:`.rules` (which request is allowed) and
:mod:`.ledger`; :mod:`.mirror` fetches, :mod:`.proxy` speaks HTTP with the build, and :mod:`.gate`
puts them together for one build.
"""
