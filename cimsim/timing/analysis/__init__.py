"""What cycles tell: bounds, critical paths, advice, least buffers, replicas."""
