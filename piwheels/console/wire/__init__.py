"""How the console hears of a farm: the master's sockets, or a recording of them."""
