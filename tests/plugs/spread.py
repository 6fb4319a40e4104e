"""A mapping: as many columns in an array as it has converters."""

from cimsim.api import Block, Layout, array_size


class Spread:
    """At most one round of the converters."""

    name = "spread"

    def place(self, op, chip):
        """Cut a matrix."""
        rows, _ = array_size(op, chip)
        cols = chip.adc.count // chip.weights.slices
        blocks = []
        for group in range(op.groups):
            for col in range(0, op.group_cols, cols):
                for row in range(0, op.group_rows, rows):
                    height, width = min(rows, op.group_rows - row), min(cols, op.group_cols - col)
                    blocks.append(Block(len(blocks), 0, 0, height, width, group, row, col))
        return Layout.of(op, chip, blocks)
