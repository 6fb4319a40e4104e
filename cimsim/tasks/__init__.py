"""What is asked of a network: inputs, one sample at a time, and how its answers are measured."""
