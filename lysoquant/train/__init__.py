"""Training of the network on simulated scenes."""
