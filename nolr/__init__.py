"""nolr: neural networks trained without backpropagation, by forward runs and likelihood ratios."""

__version__ = "0.1.0"
