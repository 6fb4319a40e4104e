"""What is said step by step: ``-v`` and ``--log``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from cimsim import __version__
from cimsim.errors import InputError

VERBOSE = ("-v", "--verbose")


def listen(verbose: bool, log_file: Path | None) -> None:
    """Send what the package logs to stderr and to a file.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler()] if verbose else []
    if log_file is not None:
        try:
            handlers.append(logging.FileHandler(log_file, encoding="utf-8"))
        except OSError as error:
            raise InputError(f"--log: cannot write '{log_file}': {error.strerror}") from None
    form = logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S")
    log = logging.getLogger("cimsim")
    log.setLevel(logging.INFO)
    for handler in handlers:
        handler.setFormatter(form)
        log.addHandler(handler)
    log.info("cimsim %s: %s", __version__, " ".join(sys.argv[1:]))


def trace(error: BaseException) -> None:
    """Log the whole traceback of what lies behind a message."""
    logging.getLogger("cimsim").info("what lies behind it:", exc_info=error)


def without_verbose(arguments: list[str]) -> list[str]:
    """Take ``-v`` out of the arguments of a command, which has no such option, and listen."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    left = [text for text in arguments[:end] if text not in VERBOSE]
    if len(left) < end and not logging.getLogger("cimsim").handlers:
        listen(True, None)
    return left + arguments[end:]
