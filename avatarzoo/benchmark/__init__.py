"""Protocols, records, leaderboards, timing."""
