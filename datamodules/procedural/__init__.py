"""The parts of the synthetic capture: a procedural head, its expressions, skin, lights and cameras. All lengths in mm."""
