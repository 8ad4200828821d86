"""Entry point of the `xops` command: `python -m console` and the installed script are the same."""

from __future__ import annotations


def main() -> None:
    """Run the command line; imports nothing before it is needed."""
    from console.cli import run

    run()


if __name__ == "__main__":
    main()
