"""Ctrl-C between two steps, never inside one."""

from __future__ import annotations

import signal
import threading


class Interrupt:
    """Turns the first Ctrl-C into a wish: a step that was cut in half could not be resumed."""

    def __init__(self) -> None:
        self.asked = False
        self.before: signal._HANDLER = None

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)

    def _ask(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
