"""Leaderboards: records read back, grouped by what models saw, and shown as text, a page, or in Weights & Biases."""
