"""``python -m torchicon`` is the command line."""

from torchicon.cli import main

main()
