"""``avatarzoo curve``: how good runs were on the way, against minutes of training."""
