"""Recurrent classifiers: an image read row by row, and a text word by word.

Recurrent weights begin as the identity (Le, Jaitly, Hinton: arXiv:1504.00941), so that what a unit
does to the output depends little on the sample, which is what a mean Jacobian can hold.
"""

from __future__ import annotations

from functools import lru_cache
from os.path import realpath

import numpy as np

from nolr.activations import identity
from nolr.data import Dataset, Split, Texts, Vocabulary, load_ag_news
from nolr.data.dataset import split_rows
from nolr.data.store import data_folder
from nolr.errors import BadInput
from nolr.initializers import Normal, ScaledIdentity
from nolr.layers import Dense, Embedding, MeanOverTime, SimpleRNN
from nolr.network import Sequential
from nolr.recipes.images import Images, grey, mnist
from nolr.recipes.recipe import Recipe
from nolr.recipes.settings import Settings, get_activation
from nolr.recipes.variants import first_at_hand

__all__ = ["AGNEWS_RECURRENT", "MNIST_ROWS_RECURRENT"]


def _recurrent(inputs: int, settings: Settings, last: bool) -> SimpleRNN:
    if len(settings.hidden) != 1:
        raise BadInput(f"a recurrent recipe has one hidden layer, got hidden={settings.hidden}")
    return SimpleRNN(
        inputs,
        settings.hidden[0],
        get_activation(settings.activation),
        last=last,
        recurrent_initializer=ScaledIdentity(),
    )


def _rows(settings: Settings) -> Sequential:
    recurrent = _recurrent(28, settings, last=True)
    return Sequential(recurrent, Dense(recurrent.units, 10, identity), input_shape=(28, 28))


def _words(settings: Settings) -> Sequential:
    """The mean over all states, so that no word is far from the output."""
    if settings.dropout:
        raise BadInput(
            "dropout sets features to 0, but the inputs of this recipe are numbers of words: leave "
            f"it at 0, got {settings.dropout}"
        )
    recurrent = _recurrent(settings.embedding, settings, last=False)
    return Sequential(
        Embedding(settings.vocabulary, settings.embedding, Normal(0.1)),
        recurrent,
        MeanOverTime(),
        Dense(recurrent.units, 4, identity),
        input_shape=(settings.time_steps,),
    )


@lru_cache(maxsize=1)
def _texts(folder: str, variant: str) -> tuple[Texts, Texts]:
    return load_ag_news(folder, variant)


def _news(settings: Settings) -> Split:
    """Numbers of words; the vocabulary knows the training texts alone."""
    # By the folder as it is: what the setting and NOLR_DATA mean can change.
    texts, test = _texts(realpath(data_folder(settings.data_dir)), settings.variant)
    rest, held = split_rows(texts.labels, settings.validation_fraction, settings.seed)
    vocabulary = Vocabulary.build(texts.rows(rest).texts, settings.vocabulary)
    train, validation, test_set = (
        Dataset(vocabulary.encode(part.texts, settings.time_steps), part.labels)
        for part in (texts.rows(rest), texts.rows(held), test)
    )
    return Split(train, validation, test_set)


def _numbers(inputs: np.ndarray) -> np.ndarray:
    """Numbers of words, as `nolr.data.Vocabulary` gives them."""
    return np.asarray(inputs)


MNIST_ROWS_RECURRENT = Recipe(
    name="mnist-rows-recurrent",
    summary="MNIST row by row, SimpleRNN of 128 units: 95.2 % in 35 s",
    settings=Settings(
        hidden=(128,),
        activation="tanh",
        sigma=0.2,
        residual=0.0,
        forgetting=0.998,
        probe_every=3,
        learning_rate=2e-3,
        learning_rate_schedule="cosine",
        batch_size=128,
        validation_fraction=0.05,
        epochs=10,
    ),
    data=Images(mnist, grey),
    prepare=grey,
    build=_rows,
)

AGNEWS_RECURRENT = Recipe(
    name="agnews-recurrent",
    summary="AG News, or the part at hand, embedding and SimpleRNN: 85.4 % on the part in 3 s",
    settings=Settings(
        hidden=(64,),
        activation="tanh",
        time_steps=40,
        embedding=64,
        vocabulary=10_000,
        sigma=0.2,
        residual=0.0,
        forgetting=0.99,
        learning_rate=5e-3,
        learning_rate_schedule="cosine",
        batch_size=64,
        validation_fraction=0.05,
        epochs=3,
    ),
    data=_news,
    prepare=_numbers,
    build=_words,
    settle=first_at_hand("ag-news", "ag-news-part"),
)
