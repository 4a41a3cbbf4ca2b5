"""Data sets: samples and targets on the host, checked once, split by a seed."""

from nolr.data.dataset import Dataset, Split, split_stratified
from nolr.data.digits import load_digits

__all__ = ["Dataset", "Split", "load_digits", "split_stratified"]
