"""What a run shows: picture grids, throughput, checkpoints."""
