"""Driving parameters and what they move: ARKit's names, FLAME's file, parameters and mesh."""
