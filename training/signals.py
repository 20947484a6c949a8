"""Being asked to stop: at once while there is nothing to lose, else after the step in progress."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from configs.errors import StopRequested

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
Handler = Callable[[int, FrameType | None], None]


@contextmanager
def stop_at_once() -> Iterator[None]:
    """SIGTERM and Ctrl-C raise StopRequested in the body: for work that is whole or not there."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise StopRequested(f"by {signal.Signals(number).name}, outside of any step")

    with _handling(handle):
        yield


@contextmanager
def stop_flag() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM or Ctrl-C came since the body began; the second exits at once (130, 143).

    Under torchrun the second is torchrun's own copy of the first; it kills after its grace.
    """
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if received and "TORCHELASTIC_RUN_ID" not in os.environ:
            os._exit(128 + number)
        received.append(number)

    with _handling(handle):
        yield lambda: bool(received)


@contextmanager
def _handling(handler: Handler) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say what signals do
        return
    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, signal.SIG_DFL if earlier is None else earlier)
