"""The typed results of a fit, and fit.json."""

from scaling.fit.results.document import FitDocument

__all__ = ["FitDocument"]
