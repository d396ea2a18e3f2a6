"""Pure metric functions with masks, and thin torchmetrics classes over them."""
