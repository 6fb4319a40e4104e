"""What the cycle model is: rules, stages, services, routes, line buffers and memories."""
