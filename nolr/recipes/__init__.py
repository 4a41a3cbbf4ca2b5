"""Recipes: named experiments. A recipe is data, a network, and settings that are known to work."""

from nolr.errors import BadInput, nearest
from nolr.recipes.digits import DIGITS_DENSE
from nolr.recipes.mnist import MNIST_DENSE, MNIST_ROWS_RECURRENT, MNIST_SPIKING
from nolr.recipes.recipe import Recipe
from nolr.recipes.settings import Settings, build_trainer

__all__ = ["RECIPES", "Recipe", "Settings", "build_trainer", "get_recipe"]

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (DIGITS_DENSE, MNIST_DENSE, MNIST_SPIKING, MNIST_ROWS_RECURRENT)
}


def get_recipe(name: str) -> Recipe:
    """Look a recipe up by name.

    Raises:
        BadInput: there is none of that name; the message suggests the nearest.
    """
    if name not in RECIPES:
        raise BadInput(f"there is no recipe {name!r}{nearest(str(name), RECIPES)}")
    return RECIPES[name]
