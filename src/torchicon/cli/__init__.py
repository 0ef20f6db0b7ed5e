"""The command line: `torchicon demo | cluster | embed | methods | cite | table | verify | version`."""

from torchicon.cli.app import main as main
