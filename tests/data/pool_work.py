"""Work for the pool's tests; importable by its processes."""

import os
import signal
import time


def square(number: int) -> int:
    """Negative numbers raise, zero kills the process."""
    if number < 0:
        raise ValueError(f"{number} is negative")
    if number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds
