"""Recipes: named experiments. A recipe is data, a network, and settings that are known to work."""

from nolr.errors import BadInput, nearest
from nolr.recipes.conv import CIFAR10_CONV, FASHION_CONV, MNIST_CONV
from nolr.recipes.dense import MNIST_DENSE
from nolr.recipes.digits import DIGITS_DENSE
from nolr.recipes.graphs import CITESEER_GRAPH, CORA_GRAPH, PUBMED_GRAPH
from nolr.recipes.recipe import Recipe
from nolr.recipes.recurrent import AGNEWS_RECURRENT, MNIST_ROWS_RECURRENT
from nolr.recipes.settings import Settings
from nolr.recipes.spiking import FASHION_SPIKING, MNIST_SPIKING
from nolr.recipes.trainer import build_trainer

__all__ = ["RECIPES", "Recipe", "Settings", "build_trainer", "get_recipe"]

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        DIGITS_DENSE,
        MNIST_DENSE,
        MNIST_CONV,
        FASHION_CONV,
        CIFAR10_CONV,
        MNIST_SPIKING,
        FASHION_SPIKING,
        MNIST_ROWS_RECURRENT,
        AGNEWS_RECURRENT,
        CORA_GRAPH,
        CITESEER_GRAPH,
        PUBMED_GRAPH,
    )
}


def get_recipe(name: str) -> Recipe:
    """Look a recipe up by name.

    Raises:
        BadInput: there is none of that name; the message suggests the nearest.
    """
    if name not in RECIPES:
        raise BadInput(f"there is no recipe {name!r}{nearest(str(name), RECIPES)}")
    return RECIPES[name]
