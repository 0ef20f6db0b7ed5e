"""Errors of the equation: each says what must hold, what was seen, where, and the way out."""


class CandidatesError(ValueError):
    """Two neighborhoods range over different columns, so a divergence between them has no meaning."""


class SupportError(ValueError):
    """The divergence is infinite: p has mass on a candidate where q has none."""


class RouteError(ValueError):
    """A fast route was registered twice or for something that is not a pair of Rows types."""
