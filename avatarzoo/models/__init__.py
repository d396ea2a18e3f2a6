"""Avatar families; each folder reads top-down in the order data flows."""
