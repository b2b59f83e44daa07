"""Keys: the peers that may use a farm over the network, and how a peer proves who it is (CURVE)."""
