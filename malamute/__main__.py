"""Owns `python -m malamute`, which is the `malamute` command."""

from malamute.cli import main

if __name__ == "__main__":
    main()
