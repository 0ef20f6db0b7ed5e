"""Arrays in, reports and figures out. Imports nothing else of this package.

Static figures (`torchicon.viz.figures`, `torchicon.viz.curves`) and the report of a training run
(`torchicon.viz.training`) load matplotlib; the reports here do without it.
"""

from torchicon.viz.reports import write_cluster_report, write_map_report

__all__ = ["write_cluster_report", "write_map_report"]
