"""What several commands do on the way: progress bars, and a network traced for a frame size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cimsim.loading import Network


def trace(network: Network, size: tuple[int, int], strict: bool = False) -> Any:
    """Return the graph of a network for frames of (height, width); ``strict`` as in the option."""
    import cimsim
    from cimsim.errors import GraphError

    graph = cimsim.trace(network.module, network.example(*size), name=network.title)
    if strict and graph.uncosted:
        listed = "; ".join(f"{op.op} in {op.source or op.name}" for op in graph.uncosted)
        raise GraphError(
            f"--strict: {len(graph.uncosted)} operations have no cost rule: {listed}. Leave out "
            "--strict to run them without time and energy"
        )
    return graph


class Bars:
    """Progress bars on the terminal, one per stage; silent when asked or when piped."""

    def __init__(self, console: Any, quiet: bool) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        self._tasks: dict[str, Any] = {}
        self._progress = Progress(
            "{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            console=console, transient=True, disable=quiet or not console.is_terminal,
        )  # fmt: skip

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` steps of a stage are finished."""
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total)
        self._progress.update(self._tasks[stage], completed=done, total=total)
