"""Signals in the batch to latent codes."""
