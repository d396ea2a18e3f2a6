"""Volume rendering: rays, occupancy, sampling along rays, compositing. Nothing here knows a model."""
