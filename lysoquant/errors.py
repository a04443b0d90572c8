"""Errors that a user can act on. Each is also the builtin that it stands for.

A message is one line that says the value, what was expected and the way out. Anything that is not
a :class:`LysoquantError` is a fault of the program and keeps its traceback.
"""

from __future__ import annotations


class LysoquantError(Exception):
    """Base of all errors whose message is meant for the user."""


class InputError(LysoquantError, ValueError):
    """Something that the user gave is wrong; the command line exits with status 2."""


class ConfigError(InputError):
    """The configuration or one of its sheets is wrong."""


class PlateError(InputError):
    """A raw plate can't be read or described as a whole."""


class PlaneChoiceError(PlateError):
    """A raw plate was read, but not all its channels have the Z plane or the time point that is asked for."""


class ModelError(InputError):
    """A model file is damaged, or does not fit the channels or the network."""


class FieldError(LysoquantError):
    """One field is bad. The plate goes on unless ``on_bad_field: fail``."""


class DamagedFieldError(FieldError):
    """What an earlier stage wrote of a field can't be read any more. Its well is never taken for up to date."""


class UnreachedFileError(FieldError):
    """A raw file could not be opened, whatever is in it. Its well is done again by the next run that finds the file."""


class StageError(LysoquantError):
    """A stage can't start or finish: an upstream record is missing, a field failed under ``fail``."""
