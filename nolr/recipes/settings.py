"""Settings: every choice of an experiment by a name and a plain value.

The same names serve the command line (`--sigma 0.2`, `--set hidden=256,128`), the Python
interface (`nolr.train(sigma=0.2)`) and the run file, which stores them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from nolr.activations import Identity, ReLU, Sigmoid, Step, Tanh
from nolr.coding import PoissonCoding
from nolr.errors import BadInput, nearest
from nolr.estimation import (
    CleanLoss,
    Equal,
    JacobianControlVariate,
    Joint,
    LayerWise,
    LeaveGroupOut,
    Neyman,
    NoBaseline,
    RandomTails,
)
from nolr.learning_rates import Constant, Cosine
from nolr.losses import CrossEntropy, MeanSquaredError, ZeroOne
from nolr.noise import Gaussian, Laplace
from nolr.optimizers import SGD, Adam
from nolr.sampling import Antithetic, Independent, Orthogonal, Sobol
from nolr.types import Activation

__all__ = ["CHOICES", "Settings", "get_activation", "keep_default"]

LARGEST = 2**32 - 1


def _no_control_variate(**unused: Any) -> None:
    """Plain likelihood ratios; the control variate's settings have no effect."""


def _no_coding(steps: int, source: str) -> None:
    """Inputs as they are."""


CHOICES: dict[str, dict[str, Callable[..., Any]]] = {
    "activation": {
        "relu": ReLU,
        "tanh": Tanh,
        "sigmoid": Sigmoid,
        "step": Step,
        "identity": Identity,
    },
    "loss": {"cross-entropy": CrossEntropy, "zero-one": ZeroOne, "squared": MeanSquaredError},
    "noise": {"gaussian": Gaussian, "laplace": Laplace},
    "sampler": {s.__name__.lower(): s for s in (Antithetic, Independent, Orthogonal, Sobol)},
    "schedule": {"layer-wise": LayerWise, "joint": Joint},
    "baseline": {"none": NoBaseline, "clean": CleanLoss, "leave-group-out": LeaveGroupOut},
    "allocation": {"equal": Equal, "neyman": Neyman, "random-tails": RandomTails},
    "control_variate": {"jacobian": JacobianControlVariate, "none": _no_control_variate},
    "optimizer": {"adam": Adam, "sgd": SGD},
    "learning_rate_schedule": {"constant": Constant, "cosine": Cosine},
    "coding": {"direct": _no_coding, "poisson": PoissonCoding},
    "dtype": {"float32": str, "float64": str},
}
"""Settings that are a choice of names, and what each name stands for."""


@dataclass(frozen=True)
class Settings:
    """All settings of a training run, with the defaults of the library."""

    seed: int = 0
    backend: str = "numpy"
    noise_source: str = "device"
    dtype: str = "float32"
    threads: int = 0
    workers: int = 1
    data_dir: str = ""
    variant: str = ""
    hidden: tuple[int, ...] = (128, 64)
    activation: str = "relu"
    time_steps: int = 6
    coding: str = "direct"
    embedding: int = 64
    vocabulary: int = 10_000
    loss: str = "cross-entropy"
    copies: int = 2
    noise: str = "gaussian"
    sigma: float = 0.1
    sampler: str = "antithetic"
    schedule: str = "layer-wise"
    baseline: str = "clean"
    allocation: str = "equal"
    control_variate: str = "jacobian"
    residual: float | str = "adaptive"
    forgetting: float = 0.98
    forgetting_last: float = 0.0
    ridge: float = 0.01
    probe: str = "white"
    probe_sigma: float = 0.0
    leak: float = 0.0
    forgets: str = "evenly"
    context: int = 0
    probe_every: int = 1
    monitor_every: int = 20
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    learning_rate_schedule: str = "constant"
    momentum: float = 0.9
    weight_decay: float = 0.0
    l2: float = 0.0
    dropout: float = 0.0
    batch_size: int = 32
    epochs: int = 30
    patience: int = 0
    test_fraction: float = 0.2
    validation_fraction: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= LARGEST:
            raise BadInput(f"seed must lie in 0..{LARGEST}, got {self.seed}")
        if self.threads < 0:
            raise BadInput(f"threads must be 0 (as BLAS likes) or more, got {self.threads}")
        for name, choices in CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise BadInput(f"{name} cannot be {value!r}{nearest(str(value), choices)}")

    def with_values(self, values: Mapping[str, Any]) -> Settings:
        """Replace settings by name; strings are read as the setting's type.

        Raises:
            BadInput: there is no such setting (the message suggests the nearest), or the value
                cannot be read.

        >>> Settings().with_values({"hidden": "32,16", "residual": "1"}).hidden
        (32, 16)
        """
        names = {field.name for field in fields(self)}
        for name in values:
            if name not in names:
                raise BadInput(f"there is no setting {name!r}{nearest(name, names)}")
        return replace(self, **{name: self._read(name, value) for name, value in values.items()})

    def _read(self, name: str, value: Any) -> Any:
        default = getattr(self, name)
        try:
            if name == "hidden":
                sizes = value.split(",") if isinstance(value, str) else value
                return tuple(_read_int(size) for size in sizes if size != "")
            if name == "residual":
                return value if value == "adaptive" else float(value)
            if isinstance(default, int):
                return _read_int(value)
            if isinstance(default, float):
                return float(value)
            if not isinstance(value, str):
                raise ValueError
        except _TooLarge:
            raise BadInput(f"{name} must be at most {LARGEST}, got {value}") from None
        except (TypeError, ValueError, OverflowError):
            by_name = {
                "hidden": "whole numbers like 128,64",
                "residual": "a number from 0 to 1, or 'adaptive'",
            }
            by_type = {int: "a whole number", float: "a number"}
            expected = by_name.get(name) or by_type.get(type(default), "a name")
            raise BadInput(f"{name} must be {expected}, got {value!r}") from None
        return value

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


class _TooLarge(ValueError):
    """A whole number beyond LARGEST."""


def _read_int(value: Any) -> int:
    number = int(value)
    if not isinstance(value, str) and number != value:
        raise ValueError
    if number > LARGEST:  # how small it may be depends on the setting
        raise _TooLarge
    return number


def get_activation(name: str) -> Activation:
    """The activation of that name."""
    return CHOICES["activation"][name]()


def keep_default(settings: Settings, name: str, where: str) -> None:
    """Raise BadInput if a setting has a value of its own `where` it would have no effect."""
    default, value = getattr(Settings, name), getattr(settings, name)
    if value != default:
        raise BadInput(f"{name} has no effect {where}: leave it at {default!r}, got {value!r}")
