"""What a window needs and what a line buffer lets go, window by window from the definitions."""

from cimsim.mapping.dataflow import Dependency, Node
from cimsim.timing.plan.plan import Job


def windows_up_to(job: Job, activations: int) -> int:
    """Windows of the first ``activations`` activations, through all frames."""
    frame, rest = divmod(activations, job.activations)
    return frame * job.node.windows + min(rest * job.per_activation, job.node.windows)


def needed_windows(node: Node, producer: Node, dependency: Dependency) -> list[int]:
    """How many windows of the producer each window waits for."""
    height, width = (n * b for n, b in zip(producer.grid, producer.block, strict=True))
    found = []
    for wy in range(node.grid[0]):
        for wx in range(node.grid[1]):
            most = 0
            if dependency.window is None:
                most = producer.windows
            else:
                top, _, left, _ = dependency.window.padding
                y = wy * dependency.window.stride[0] - top + dependency.window.extent[0] - 1
                x = wx * dependency.window.stride[1] - left + dependency.window.extent[1] - 1
                if y >= 0 and x >= 0:
                    py = min(y, height - 1) // producer.block[0]
                    px = min(x, width - 1) // producer.block[1]
                    most = py * producer.grid[1] + px + 1
            found.append(most)
    return found


def released_pixels(
    consumer: Node, producer: Node, dependencies: tuple[Dependency, ...], rows: int
) -> int:
    """Pixels of one frame above all that the consumer's rows from ``rows`` on still read."""
    height, width = (n * b for n, b in zip(producer.grid, producer.block, strict=True))
    first = height  # after the last row nothing is read any more
    for dependency in dependencies:
        for row in range(rows, consumer.grid[0]):
            if dependency.window is None:
                first = 0
                continue
            top = row * dependency.window.stride[0] - dependency.window.padding[0]
            read = range(max(top, 0), min(top + dependency.window.extent[0], height))
            first = min([first, *read[:1]])
    return first // producer.block[0] * producer.block[0] * width
