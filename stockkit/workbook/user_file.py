"""A user's features and models from one Python file: `features.register(…)` for a feature, `MODELS = […]` for models.

It is loaded and tried in a process of its own before a run starts (`check`), and loaded by the notebooks (`load`).

Example:
    >>> from stockkit import user_file
    >>> user_file.load("my_features.py").features
    ('body',)
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from stockkit import features
from stockkit.causality.isolation import ProcessEnded, isolated
from stockkit.errors import ForecastError, LeakError, ParamError
from stockkit.imports import pandas as pd
from stockkit.market import schema
from stockkit.workbook import param_values

MODULE = "stockkit_user_file"
NAMES = "MODELS"
ENDS = "nothing was started. Take that out, or put it under `if __name__ == '__main__':`."
RESERVED = ("core", "best", "champion")  # words of the parameters `tried` and `candidate`, and of saved models
PRACTICE = 400  # simulated sessions that models are tried on


@dataclass(frozen=True)
class UserFile:
    """What a file adds to a run.

    Attributes:
        path: of the file; "" for none.
        features: the names that it registered, in the group `user`.
        models: those of its list `MODELS`.
    """

    path: str = ""
    features: tuple[str, ...] = ()
    models: tuple[Any, ...] = ()

    def names(self, *groups: str, scale_free: bool = False) -> list[str]:
        """The features of the groups as from `features.names`, then those of the file, each once."""
        mine = [name for name in self.features if features.CATALOGUE[name].scale_free or not scale_free]
        return list(dict.fromkeys([*features.names(*groups, scale_free=scale_free), *mine]))

    def absent(self, table: pd.DataFrame) -> list[str]:
        """A sentence for each feature of the file that a table lacks."""
        lacking = [name for name in self.features if name not in table]
        return [f"Left out: {name} of {self.path} is not in the features yet: run 03_features." for name in lacking]


def load(path: str, root: Path | None = None) -> UserFile:
    """Load a file, register its features in place of those of the file loaded before, and take up its models.

    Args:
        path: of the file, from `root`; "" for none.
        root: the folder; the working one by default.

    Raises:
        ParamError: no such file, one that cannot be loaded, or a name that is taken.
    """
    _forget()
    if not path:
        return UserFile()
    before = {name: features.CATALOGUE[name] for name in features.names("user")}
    module = module_of(path, root=root, ends=ENDS)
    new = tuple(name for name in features.names("user") if features.CATALOGUE[name] is not before.get(name))
    _loaded.extend(new)
    for name in new:
        if name in schema.PRICES:
            raise ParamError(f"{path}: a feature cannot be called {name!r}, which is a column of prices.")
    loaded = UserFile(path, new, tuple(_models(path, module)))
    if not loaded.features and not loaded.models:
        raise ParamError(f"{path} adds nothing: call features.register(…) for a feature, list models in {NAMES} = […].")
    _send_by_value(module)
    return loaded


_loaded: list[str] = []


def _forget() -> None:
    if sys.modules.pop(MODULE, None) is not None:
        from stockkit.records.registry import encoding

        encoding.disallow(MODULE)
    for name in _loaded:
        with contextlib.suppress(ParamError):
            features.forget(name)
    _loaded.clear()


def module_of(path: str, *, root: Path | None = None, ends: str = ENDS) -> ModuleType:
    """The module that a file makes, under a name that hides no other module.

    Raises:
        ParamError: no such file, or one that raises or ends Python when it is loaded.
    """
    file = (root or Path.cwd()) / path
    if not file.is_file():
        raise ParamError(f"there is no file {path}: give the path from this folder.")
    spec = importlib.util.spec_from_file_location(MODULE, file)
    if spec is None or spec.loader is None:
        raise ParamError(f"{path} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module  # dataclasses look their module up
    if str(file.parent.resolve()) not in sys.path:
        sys.path.append(str(file.parent.resolve()))
    with loading(path, ends):
        spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def loading(what: str, ends: str) -> Iterator[None]:
    """Turn whatever a user's code raises while it is loaded into an error that names it.

    Raises:
        ParamError: it raised, or ended Python; `ends` is the way out of that.
    """
    try:
        yield
    except SystemExit as end:
        raise ParamError(f"{what} ends Python by sys.exit({end.code!r}) when it is loaded: {ends}") from end
    except ParamError as error:
        raise ParamError(f"{what}: {error}") from error
    except Exception as error:  # a user's file may fail in any way while it is loaded
        raise ParamError(f"{what} cannot be loaded: {type(error).__name__}: {_line(error)}") from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def _models(path: str, module: ModuleType) -> Iterator[Any]:
    """The models of the list, each checked for its protocol and its name."""
    from stockkit.forecast import models
    from stockkit.records.registry import saved_model

    listed = getattr(module, NAMES, None)
    if listed is None:
        classes = [key for key, value in vars(module).items() if _is_model_class(value, module)]
        if classes:
            raise ParamError(f"{path} defines the model {classes[0]} but lists none: add {NAMES} = [{classes[0]}()].")
        return
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise ParamError(f"{path}: {NAMES} must be a list of models, found a {type(listed).__name__}.")
    taken = {model.name for model in (*models.CORE, *models.EXTRAS)} | {*RESERVED}
    for model in listed:
        if isinstance(model, type):
            raise ParamError(f"{path}: {NAMES} lists the class {model.__name__}: write {model.__name__}().")
        name = getattr(model, "name", None)
        if not isinstance(name, str) or not callable(getattr(model, "fit", None)):
            raise ParamError(f"{path}: {NAMES} lists a {type(model).__name__}: a model has `name`, a text, and `fit`.")
        if not saved_model.MODEL.fullmatch(name):
            raise ParamError(f"{path}: a model cannot be called {name[:60]!a}: use letters, digits, _ and . alone.")
        if name in taken:
            raise ParamError(f"{path}: the name {name!r} of a model is taken: give yours another one.")
        taken.add(name)
        yield model


def _is_model_class(value: Any, module: ModuleType) -> bool:
    is_here = isinstance(value, type) and value.__module__ == module.__name__
    return is_here and callable(getattr(value, "fit", None)) and hasattr(value, "name")


def _send_by_value(module: ModuleType) -> None:
    """Let the processes that fit models have the file's classes, which they cannot import."""
    with contextlib.suppress(ImportError):  # without loky no model is fitted elsewhere
        import cloudpickle

        cloudpickle.register_pickle_by_value(module)


def check(path: str, root: Path, used: Mapping[str, Any]) -> None:
    """Refuse a file that cannot be loaded, a feature that leaks, a model that looks ahead; all in another process.

    Args:
        path: of the file, from `root`; "" for none.
        root: the workbook's folder.
        used: the parameters of the run; of them `groups`, `engine` and `candidate` count.

    Raises:
        ParamError: what is wrong, and the way out.
    """
    names: tuple[str, ...] = ()
    if path:
        try:
            with contextlib.chdir(root):
                names, models = next(iter(isolated(lambda: [_tried(path)])))
        except ProcessEnded as ended:
            raise ParamError(f"{path} {ended} when it is loaded or tried: {ENDS}") from ended
        _check_candidate(used.get("candidate", ""), path, models)
    engine = used.get("engine", "local")
    if names and not param_values.ENGINES[engine].user_features:
        raise ParamError(
            f"engine={engine} computes features of the catalogue alone: use engine=local with user={path}."
        )
    if used.get("groups") == ["user"] and not names:
        raise ParamError("groups=[user] has no features: give the file that registers some, -p user=my_features.py.")


def _tried(path: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of a file's features and models, all of which passed their trial."""
    from stockkit import causality

    loaded = load(path)
    try:
        if loaded.features:
            causality.audit(list(loaded.features)).raise_for_leaks()
        if loaded.models:
            _look_ahead(loaded)
    except (LeakError, ForecastError) as error:
        raise ParamError(f"{path}: {_line(error)[:1000]}") from error
    return loaded.features, tuple(model.name for model in loaded.models)


def _look_ahead(loaded: UserFile) -> None:
    """Backtest the models on simulated bars: what uses later sessions raises."""
    import numpy as np

    from stockkit.forecast.models import RandomWalk
    from stockkit.forecast.walk import backtest
    from stockkit.market import simulate

    bars = simulate.bars(["A", "B"], count=PRACTICE, rng=np.random.default_rng(1))
    names = loaded.names(scale_free=True)
    panel = features.compute(bars, names).merge(bars[["symbol", "date", "close"]], on=["symbol", "date"])
    backtest.run(panel, models=[RandomWalk(), *loaded.models], features=names, horizon=1, step=PRACTICE)


def _check_candidate(candidate: str, path: str, names: Sequence[str]) -> None:
    if candidate and candidate not in names:
        param_values.check("candidate", candidate)
