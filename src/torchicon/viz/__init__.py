"""Arrays in, reports and figures out. Imports nothing else of this package.

Static figures are in `torchicon.viz.figures`, which loads matplotlib; the reports do without it.
"""

from torchicon.viz.reports import write_cluster_report, write_map_report

__all__ = ["write_cluster_report", "write_map_report"]
