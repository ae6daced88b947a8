"""A fresh Python, for what must be set before anything is imported."""

import subprocess
import sys


def python(*arguments):
    """Return the words that a fresh Python printed."""
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()
