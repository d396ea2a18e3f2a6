"""Encodings of surface coordinates or points into features."""
