"""AG News: the official files as torchtext downloads them, and the part of them that is at hand."""

from __future__ import annotations

from nolr.data.source import SourceSet, listed

__all__ = ["AG_NEWS", "AG_NEWS_PART"]

ADDRESS = "https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/data/ag_news_csv/"
LICENCE = "for research and other non-commercial activity, says the readme of the set"
CITATION = (
    "X. Zhang, J. Zhao, Y. LeCun: Character-level Convolutional Networks for Text Classification, "
    "NIPS 2015"
)

# fmt: off
TEST = listed(
    ADDRESS,
    ("test.csv", 1_857_427,
     "521465c2428ed7f02f8d6db6ffdd4b5447c1c701962353eb2c40d548c3c85699"),
)

AG_NEWS = SourceSet(
    name="ag-news",
    folder="ag_news",
    files=listed(
        ADDRESS,
        # The file whose md5, b1a00f826fdfbd249f79597b59e1dc12, torchtext publishes.
        ("train.csv", 29_470_338,
         "76a0a2d2f92b286371fe4d4044640910a04a803fdd2538e0f3f29a5c6f6b672e"),
    ) + TEST,
    licence=LICENCE,
    citation=CITATION,
)

AG_NEWS_PART = SourceSet(
    name="ag-news-part",
    folder="ag_news",
    files=listed(
        None,
        ("train.first2000.csv", 517_506,
         "fe1b508b8e4b92d6dedf36c21756e0568a7693a0b7fc244bea416e918308318f"),
        ("train.sample5000.text-label.csv", 1_219_216,
         "2b534bbedd1b58e9329bd169ed5e4c03ba716d34a888191444d6d02a58829093"),
    ) + TEST,
    licence=LICENCE,
    citation=CITATION,
    origin=(
        "its training rows are from github.com/amrayach/PML and github.com/fxcawley/MetaRepICL, as "
        "datasets/ag-news-part.md says; take ag-news, the whole set, which can be"
    ),
)
