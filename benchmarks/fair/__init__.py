"""Networks like with like: each under one mapping, and each under the best one found for it."""
