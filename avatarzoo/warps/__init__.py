"""Per-frame deformations of points, fitted to training frames and off at test time."""
