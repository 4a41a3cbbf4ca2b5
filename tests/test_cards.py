"""The card of every data set says what the catalogue and the readers say."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

import nolr.data
from nolr.data.catalogue import CATALOGUE
from nolr.errors import BadInput

CARDS = Path(__file__).parents[1] / "datasets"


def card(name):
    """The text of a card, on one line."""
    return " ".join((CARDS / f"{name}.md").read_text(encoding="utf-8").split())


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_card_agrees_with_the_catalogue(name):
    source = CATALOGUE[name]
    text = card(name)
    assert f"Licence: {source.licence}." in text
    assert f"Cite: {source.citation}." in text
    assert f"`{source.folder}/`" in text
    if source.origin:
        assert f"{source.remedy[0].upper()}{source.remedy[1:]}." in text
    else:
        assert f"nolr data fetch {name}" in text
    for version in source.versions:
        for file in version:
            assert f"| `{file.name}` | {file.size} | `{file.sha256}` |" in text
            assert file.url is None or f"<{file.url.removesuffix(file.name)}>" in text


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_card_names_a_reader_that_knows_the_set(name, tmp_path):
    call = re.search(r'`nolr\.data\.(\w+)\((?:variant="([\w-]+)")?\)`', card(name))
    reader, variant = call.groups()
    arguments = {"variant": variant} if variant else {}
    with pytest.raises(BadInput, match=re.escape(CATALOGUE[name].remedy)):
        getattr(nolr.data, reader)(tmp_path, **arguments)


def test_the_card_of_the_digits_agrees_with_scikit_learn():
    data = nolr.data.load_digits()
    rows = np.concatenate([data.inputs, data.targets[:, None]], axis=1).astype(np.uint8)
    assert hashlib.sha256(rows.tobytes()).hexdigest() in card("digits")


def test_every_set_has_a_card_and_every_card_a_set():
    assert sorted(path.stem for path in CARDS.glob("*.md")) == sorted([*CATALOGUE, "digits"])
