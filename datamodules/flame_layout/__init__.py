"""A head in FLAME's exact file layout, made from the procedural head: every FLAME path runs without a licence."""
