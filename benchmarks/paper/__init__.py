"""The figures of the CIM-NET paper, redone: train, evaluate, draw, record."""
