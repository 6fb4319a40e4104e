"""An op cost: sorting by a bitonic network."""

import math

from cimsim.api import AbstractOpCost


class BitonicSort(AbstractOpCost):
    """log2(n) (log2(n) + 1) / 2 stages; in each a value is compared once and selected once."""

    def operations(self, op, inputs):
        """Return operations of the vector unit for one value of the output."""
        length = inputs[0].shape[op.args[1]]
        rounds = math.ceil(math.log2(length))
        return 2 * rounds * (rounds + 1) / 2
