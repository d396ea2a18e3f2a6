"""Outputs of FLAME trackers, read into one group of parameters (``rigs.flame.FlameParameters``)."""
