"""Data sets: samples and targets on the host, checked once, split by a seed; graphs; texts.

The catalogue knows the files, the store finds and checks them, `download` gets them.
"""

from nolr.data.ag_news import AG_NEWS_CLASSES, load_ag_news
from nolr.data.cifar10 import load_cifar10
from nolr.data.cifar10_batches import CIFAR10_CLASSES
from nolr.data.dataset import Dataset, Split, split_off, split_stratified
from nolr.data.digits import load_digits
from nolr.data.graph import Graph
from nolr.data.mnist import load_fashion_mnist, load_mnist
from nolr.data.planetoid import load_citeseer, load_cora, load_pubmed
from nolr.data.text import Texts, Vocabulary, tokenise

__all__ = [
    "AG_NEWS_CLASSES",
    "CIFAR10_CLASSES",
    "Dataset",
    "Graph",
    "Split",
    "Texts",
    "Vocabulary",
    "load_ag_news",
    "load_cifar10",
    "load_citeseer",
    "load_cora",
    "load_digits",
    "load_fashion_mnist",
    "load_mnist",
    "load_pubmed",
    "split_off",
    "split_stratified",
    "tokenise",
]
