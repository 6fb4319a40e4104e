"""An allocation: layer after layer on whole arrays, from the last array of the chip."""

from cimsim.api import MappingError, Slot


class Backwards:
    """The first layer takes the last arrays."""

    name = "backwards"

    def allocate(self, graph, requests, chip):
        """Give every request its arrays."""
        layers, free = [], chip.n_arrays
        for request in requests:
            free -= request.layout.n_arrays
            if free < 0:
                raise MappingError(f"{graph.name}: chip '{chip.name}' has {-free} arrays too few")
            arrays = range(free, free + request.layout.n_arrays)
            slots = tuple(Slot(*divmod(array, chip.tile.arrays)) for array in arrays)
            layers.append(request.placed(slots))
        return tuple(layers)
