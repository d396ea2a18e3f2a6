"""Cameras, meshes, UV resampling, Laplacians."""
