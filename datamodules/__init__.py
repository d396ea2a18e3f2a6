"""Datamodules: captures on disk or made on the spot, read into HeadBatch."""
