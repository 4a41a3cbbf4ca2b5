r"""AG News: the titles and first sentences of news in four classes, as csv files.

    official form   UTF-8, no header; "class index 1..4","title","description", inner quotes doubled
    derived form    a header `text,label`; title + " " + description, and the index - 1, 0.0 .. 3.0

The texts have been through several hands: line breaks have become backslashes (\n, says the readme
of the set, but it is the backslash alone), dollars \$, and the & of HTML was lost in places:

    world #39;s   US\$5 million  quot;yes quot;   a second\team of   &lt;b&gt;...&lt;/b&gt;

Source: X. Zhang, J. Zhao, Y. LeCun: Character-level Convolutional Networks for Text Classification,
NIPS 2015, and the readme.txt of the set.
"""

from __future__ import annotations

import csv
import html
import io
import os
import re

import numpy as np

from nolr.data.cache import Arrays, cached
from nolr.data.catalogue import CATALOGUE
from nolr.data.source import SourceSet
from nolr.data.store import read_checked
from nolr.data.text import Texts
from nolr.errors import BadInput, nearest

__all__ = ["AG_NEWS_CLASSES", "load_ag_news", "plain_text", "read_ag_news", "read_official"]

AG_NEWS_CLASSES = ("World", "Sports", "Business", "Sci/Tech")
READER = 1  # another number wherever the same files would give other texts
VARIANTS = ("ag-news", "ag-news-part")

BREAK = re.compile(r"\\(?:n(?![a-z]))?")  # in "the\next line" the n is the word's
# With its & or with the space that took its place. Names that are English words are not among them.
REFERENCE = re.compile(
    r"(?:^|[& ])(#\d{1,7}|amp|apos|gt|hellip|lt|[lr][sd]quo|[mn]dash|nbsp|quot);"
)
# A name as tags have them, unlike <KMRT.O>, which is a share; possibly cut off with the text.
TAG = re.compile(r"</?[A-Za-z][A-Za-z0-9]*(?:\s[^<>]*)?/?(?:>|$)")


def load_ag_news(
    folder: str | os.PathLike[str] | None = None, variant: str = "ag-news"
) -> tuple[Texts, Texts]:
    """News in four classes, nolr.data.AG_NEWS_CLASSES: 120,000 to train and 7600 to test.

    Args:
        folder: the data folder, which has a sub-folder ag_news/; see nolr.data.store.data_folder.
        variant: "ag-news"; or "ag-news-part", with the official test set and 6915 of the training
            texts: the first 2000 in official order, and 4915 drawn from all. Results on it are not
            results on AG News.

    Returns:
        Train and test set: title and description as `plain_text`; labels 0..3, int64, (N,).

    Raises:
        BadInput: there is no such variant, or a file of it is missing, truncated or altered.

    Source: the top of this file.
    """
    if variant not in VARIANTS:
        raise BadInput(f"AG News has no variant {variant!r}{nearest(variant, VARIANTS)}")
    return read_ag_news(CATALOGUE[variant], folder)


def read_ag_news(
    source: SourceSet, folder: str | os.PathLike[str] | None = None
) -> tuple[Texts, Texts]:
    """Train and test set of any catalogue entry with the files of AG News, or of the part of it.

    Raises:
        BadInput: a file is missing or altered, or not of its form.
    """
    arrays = cached(source, source.files, folder, READER, lambda: _decode(source, folder))
    # Plain texts have no line breaks in them, so these can stand between them.
    train, test = (
        Texts(
            tuple(arrays[f"{part} texts"].tobytes().decode("utf-8").split("\n")),
            arrays[f"{part} labels"],
        )
        for part in ("train", "test")
    )
    return train, test


def _decode(source: SourceSet, folder: str | os.PathLike[str] | None) -> Arrays:
    """UTF-8 bytes of all texts, a line each, and labels.

    In the part, texts of the sample that are among the first rows as well are left out of it.
    """

    def content(name: str) -> tuple[bytes, str]:
        return read_checked(source, name, folder), name

    if any(file.name == "train.csv" for file in source.files):
        train = read_official(*content("train.csv"))
    else:
        train = read_official(*content("train.first2000.csv"))
        first = {text for text, _ in train}
        sample = read_derived(*content("train.sample5000.text-label.csv"))
        train += [(text, label) for text, label in sample if text not in first]
    arrays = {}
    for part, rows in (("train", train), ("test", read_official(*content("test.csv")))):
        texts = "\n".join(plain_text(text) for text, _ in rows)
        arrays[f"{part} texts"] = np.frombuffer(texts.encode("utf-8"), np.uint8)
        arrays[f"{part} labels"] = np.array([label for _, label in rows], np.int64)
    return arrays


def read_official(content: bytes, name: str) -> list[tuple[str, int]]:
    """Text, as it is in the file, and label of every row of the official form.

    Args:
        name: of the file, for errors.

    Raises:
        BadInput: it is not of this form.
    """
    found = []
    for line, row in _rows(content, name):
        if len(row) != 3:
            raise _unusable(name, line, "3 columns", f"{len(row)}")
        index, title, description = row
        if index not in ("1", "2", "3", "4"):
            raise _unusable(name, line, "a class index from 1 to 4", repr(index[:20]))
        found.append((f"{title} {description}", int(index) - 1))
    if not found:
        raise _unusable(name, 1, "a row", "none")
    return found


def read_derived(content: bytes, name: str) -> list[tuple[str, int]]:
    """Text, as it is in the file, and label of every row of the derived form.

    Args:
        name: of the file, for errors.

    Raises:
        BadInput: it is not of this form.
    """
    (line, header), *rows = _rows(content, name) or [(1, [])]
    if header != ["text", "label"]:
        raise _unusable(name, line, "the header text,label", repr(",".join(header))[:40])
    found = []
    for line, row in rows:
        if len(row) != 2:
            raise _unusable(name, line, "2 columns", f"{len(row)}")
        text, label = row
        if label not in ("0.0", "1.0", "2.0", "3.0"):
            raise _unusable(name, line, "a label from 0.0 to 3.0", repr(label[:20]))
        found.append((text, int(float(label))))
    return found


def plain_text(text: str) -> str:
    r"""The text without what HTML and line breaks have left in it, single spaces between words.

    >>> plain_text(r"the world #39;s second\team,  quot;US\$5 quot; &lt;b&gt;...&lt;/b&gt;")
    'the world\'s second team, "US$5" ...'
    """
    text = BREAK.sub(" ", text.replace(r"\$", "$"))
    text = REFERENCE.sub(lambda found: html.unescape(f"&{found[1]};"), text)
    return " ".join(TAG.sub(" ", text).split())


def _rows(content: bytes, name: str) -> list[tuple[int, list[str]]]:
    """Number of the line where it ends, and columns, of every row of a csv file."""
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8"), newline=""), strict=True)
        return [(reader.line_num, row) for row in reader]
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _unusable(name, line, "UTF-8", f"byte {content[error.start]:02x}") from None
    except csv.Error as error:
        raise _unusable(name, reader.line_num, "csv with quoted columns", str(error)) from None


def _unusable(name: str, line: int, expected: str, got: str) -> BadInput:
    return BadInput(
        f"cannot use {name!r}, line {line}: expected {expected}, got {got}; get the file anew from "
        "where it is from"
    )
