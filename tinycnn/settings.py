"""The settings of a training run, and the ranges of its numbers."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import tinycnn as tc
from tinycnn.data.image import as_value_range
from tinycnn.errors import CheckpointError, DataError, unknown_name

OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("cosine", "step", "constant")
BATCH_NORMS = ("synchronised", "local")
AUGMENTATIONS = ("none", "crop", "crop-flip")
WIDEST = 64

# name: (expected, lowest, highest); "above" and "below" leave the limit out
_RANGES = {
    "epochs": ("at least 1 and at most 1,000,000", 1, 10**6),
    "batch_size": ("at least 1 and at most 1,000,000", 1, 10**6),
    "width": (f"above 0 and at most {WIDEST}", 0, WIDEST),
    "lr": ("above 0 and at most 1,000,000", 0, 10**6),
    "momentum": ("from 0 to below 1", 0, 1),
    "weight_decay": ("at least 0 and at most 1,000,000", 0, 10**6),
    "dropout": ("from 0 to below 1", 0, 1),
    "label_smoothing": ("from 0 to 1", 0, 1),
    "seed": ("at least 0 and below 2**64", 0, 2**64),
    "image_size": ("at least 8 and at most 4,096", 8, 4096),
    "limit": ("at least 1 and at most 1,000,000,000", 1, 10**9),
}
_KINDS: dict[str, Any] = {"int": int, "float": (int, float), "str": str}


@dataclass
class Settings:
    """The settings of a training run. None stands for a default that suits the data."""

    model: str = "resnet8"
    data: str = "glyphs"
    root: str | None = None
    epochs: int = 6
    batch_size: int = 64
    width: float = 1.0
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    optimizer: str = "sgd"
    schedule: str = "cosine"
    label_smoothing: float = 0.0
    augment: str | None = None
    image_size: int | None = None
    channels: int | None = None
    limit: int | None = None
    value_range: str | None = None
    seed: int = 0
    dropout: float | None = None
    bypass: str | None = None
    batch_norm: str = "synchronised"

    def check(self) -> None:
        """Raise TypeError or ValueError for numbers out of range, UnknownNameError for names."""
        for field in fields(self):
            self._check_kind(field.name, str(field.type))
        for name, (expected, low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not _within(value, expected, low, high):
                raise ValueError(f"{_option(name)} is {value}, expected {expected}")
        if self.channels not in (None, 1, 3):
            raise ValueError(f"--channels is {self.channels}, expected 1 or 3")
        try:
            as_value_range(self.value_range, "settings")
        except DataError:
            raise ValueError(f"--value-range is {self.value_range!r}, expected LOW,HIGH with LOW below HIGH") from None
        for kind, name, known in (
            ("model", self.model, tc.models.names()),
            ("data set", self.data, tc.data.NAMES),
            ("optimizer", self.optimizer, OPTIMIZERS),
            ("schedule", self.schedule, SCHEDULES),
            ("batch norm", self.batch_norm, BATCH_NORMS),
            ("augmentation", "none" if self.augment is None else self.augment, AUGMENTATIONS),
        ):
            if name not in known:
                raise unknown_name(kind, name, known)

    def _check_kind(self, name: str, annotation: str) -> None:
        value, (kind, *optional) = getattr(self, name), annotation.split(" | ")
        if value is None and optional:
            return
        if isinstance(value, bool) or not isinstance(value, _KINDS[kind]):
            expected = {"int": "a whole number", "float": "a number", "str": "a text"}[kind]
            raise TypeError(f"{_option(name)} is {value!r}, expected {expected}")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _within(value: float, expected: str, low: float, high: float) -> bool:
    """True within the limits; "above" and "below" in the text leave a limit out. NaN is in no range."""
    enough = value > low if expected.startswith("above") else value >= low
    return enough and (value < high if "below" in expected else value <= high)


def settings_of(extra: Any) -> Settings:
    """Return the settings that a checkpoint keeps.

    Raises
    ------
    CheckpointError
        If they are not settings, or out of range.
    """
    saved = extra.get("settings") if isinstance(extra, dict) else None
    if not isinstance(saved, dict):
        raise CheckpointError(f"the checkpoint's settings are {saved!r}, expected a dict of options")
    known = {field.name for field in fields(Settings)}
    settings = Settings(**{name: value for name, value in saved.items() if name in known})
    try:
        settings.check()
    except (TypeError, ValueError, LookupError) as error:
        raise CheckpointError(f"the checkpoint's settings do not fit: {error}") from error
    return settings
