"""Rasterizers behind one interface, with nvdiffrast's conventions."""
