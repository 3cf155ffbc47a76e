"""A small LSTM, one for all symbols: recent returns and features in, the h-session log return in volatilities out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from stockkit.errors import ForecastError
from stockkit.forecast.models.protocol import Forecast, Series, Training
from stockkit.forecast.models.volatility import ewma
from stockkit.imports import numpy as np

if TYPE_CHECKING:
    import torch

TAIL = 0.2  # of the training sessions, the newest: they tell when to stop
FEWEST = 100  # windows to learn from, and a fifth of it to stop by
BATCH = 128  # windows a step
RATE = 1e-3  # learning rate of Adam
DECAY = 1e-3  # of the weights, a step, times the learning rate
LARGEST = 5.0  # standard deviations: what is further out counts as that far
BLOCK = 256  # rows forecast at once


@dataclass(frozen=True, eq=False)
class Network:
    """A trained LSTM; its weights are plain tensors, to be saved without pickle.

    Attributes:
        horizon: sessions ahead. window: sessions that it looks back, the row's own included.
        centre: (k,) what is taken from each feature. scale: (k,) what it is divided by; 0: the feature is left out.
        weights: name to tensor, as in `torch.nn.Module.state_dict`.
        epoch: passes over the training windows that were best on the tail; 0: it stayed the random walk.
        tried: settings compared.
    """

    horizon: int
    window: int
    centre: np.ndarray
    scale: np.ndarray
    weights: dict[str, torch.Tensor]
    epoch: int
    tried: int = 1

    @property
    def chosen(self) -> str:
        """When training was stopped."""
        return f"epoch {self.epoch}"

    def forecast(self, series: Series, first: int) -> Forecast:
        """The network at each row, times the volatility of the horizon (`volatility.ewma`).

        NaN in the rows before 20 returns and a window of scaled ones are there. A missing feature counts as its mean.
        """
        torch = _torch("lstm")
        if series.features.shape[1] != len(self.centre):
            raise ForecastError(f"fitted on {len(self.centre)} features, given {series.features.shape[1]}.")
        inputs = torch.from_numpy(_inputs(series, self.centre, self.scale))
        score = np.zeros(len(series), "float32")
        with _alone(torch), torch.no_grad():
            net = _net(self.weights["head.weight"].shape[1], inputs.shape[1])
            net.load_state_dict(self.weights)
            # Blocks of one size: the last bits of a product depend on how many rows it has, and a forecast may not
            # depend on how many come after it.
            for start in range(first, len(series), BLOCK):
                ends = np.arange(start, start + BLOCK).clip(self.window - 1, len(series) - 1)
                score[start : start + BLOCK] = _run(net, inputs, ends, self.window).numpy()[: len(series) - start]
        mean = np.where(_usable(series, self.window), score * ewma(series, self.horizon), np.nan)
        return Forecast(mean[first:])


@dataclass(frozen=True)
class Lstm:
    """A long short-term memory network (Hochreiter and Schmidhuber 1997) of all symbols; needs the extra `deep`.

    A row's input is its last `window` sessions: features standardised by their training rows, missing ones at the
    mean, and the return over its volatility. The target is the h-session log return over its volatility, the loss
    Huber's (1964), the steps AdamW's (Loshchilov and Hutter 2019). Training stops early by the newest fifth of the
    training sessions, from which the labels before are purged; an untrained network is the random walk, and may win.
    Same seed, same forecasts, on one thread of the processor. It has no view of sigma.

    Args:
        name: in forecasts and scores.
        seed: of the first weights and of the order of the windows.
        window: sessions. hidden: units of the memory.
        epochs: passes over the training windows at most. patience: passes without a gain before it stops.

    Raises:
        ForecastError: a setting under 1.
    """

    nests_random_walk: ClassVar[bool] = True
    name: str = "lstm"
    seed: int = 0
    window: int = 10
    hidden: int = 16
    epochs: int = 40
    patience: int = 5
    pooled: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for setting in ("window", "hidden", "epochs", "patience"):
            if getattr(self, setting) < 1:
                raise ForecastError(f"{self.name}: {setting} is {getattr(self, setting)}: give 1 or more.")

    def fit(self, train: Training) -> Network:
        """Train on the rows up to the cut.

        Raises:
            ForecastError: too few windows, or no `torch` package.
        """
        torch = _torch(self.name)
        split = _split(train, self.window)
        centre, scale = _standards(train, split)
        inputs = torch.from_numpy(np.concatenate([_inputs(series, centre, scale) for series in train.series]))
        goal, learn, tail = _labels(train, self.window, split)
        if len(learn) < FEWEST or len(tail) < FEWEST // 5:
            raise ForecastError(
                f"{self.name}: {len(learn)} windows of {self.window} sessions to learn from, {len(tail)} to stop by: "
                f"{FEWEST} and {FEWEST // 5} are needed: give more sessions, more symbols or a smaller window."
            )
        with _alone(torch), torch.enable_grad():
            epoch, weights = self._trained(inputs, torch.from_numpy(goal), learn, tail)
        return Network(int(train.horizon), self.window, centre, scale, weights, epoch)

    def _trained(
        self, inputs: torch.Tensor, goal: torch.Tensor, learn: np.ndarray, tail: np.ndarray
    ) -> tuple[int, dict[str, torch.Tensor]]:
        """The epoch that was best on the tail, and its weights."""
        import torch

        rng = np.random.default_rng(self.seed)
        net = _net(self.hidden, inputs.shape[1])
        _first_weights(net, rng)
        steps = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
        best = (_loss(net, inputs, goal, tail, self.window), 0, _copy(net))
        for epoch in range(1, self.epochs + 1):
            order = rng.permutation(learn)
            for ends in np.array_split(order, -(-len(order) // BATCH)):
                steps.zero_grad()
                _huber(net, inputs, goal, ends, self.window).backward()
                torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                steps.step()
            loss = _loss(net, inputs, goal, tail, self.window)
            if loss < best[0]:
                best = (loss, epoch, _copy(net))
            elif epoch - best[1] >= self.patience:
                break
        return best[1], best[2]


def _torch(name: str) -> Any:
    try:
        import torch
    except ImportError as missing:
        raise ForecastError(f"{name} needs PyTorch ({missing}): pip install stockkit[deep]") from missing
    return torch


@contextmanager
def _alone(torch: Any) -> Iterator[None]:
    """On one thread, as the last bits of a sum depend on how many share it; the caller's number is put back."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _scaled_returns(series: Series) -> np.ndarray:
    """One-session log returns over their volatility, shape (n,); NaN where there is none yet or it is 0."""
    sigma = ewma(series, 1)
    return np.divide(series.returns, sigma, out=np.full(len(series), np.nan), where=sigma > 0)


def _usable(series: Series, window: int) -> np.ndarray:
    """The rows, shape (n,), whose last `window` sessions all have a scaled return."""
    known = np.cumsum(np.isfinite(_scaled_returns(series)))
    return known - np.concatenate([np.zeros(window), known])[: len(known)] == window


def _inputs(series: Series, centre: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """What the network sees of each session, (n, k + 1) float32: the features, then the return; 0 where missing."""
    kept = np.where(np.isfinite(series.features) & (scale > 0), series.features - centre, 0.0)
    seen = np.column_stack([kept / np.where(scale > 0, scale, 1.0), np.nan_to_num(_scaled_returns(series))])
    return seen.clip(-LARGEST, LARGEST).astype("float32")


def _split(train: Training, window: int) -> np.datetime64:
    """The first session of the tail, counted over the sessions of all symbols."""
    rows = [
        _usable(series, window) & np.isfinite(labels)
        for series, labels in zip(train.series, train.targets, strict=True)
    ]
    sessions = np.unique(np.concatenate([series.date[use] for series, use in zip(train.series, rows, strict=True)]))
    return sessions[int(len(sessions) * (1 - TAIL))] if len(sessions) else train.cut


def _standards(train: Training, split: np.datetime64) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, (k,) each, of each feature before the tail; deviation 0 where it never varies."""
    features = np.concatenate([series.features[series.date < split] for series in train.series])
    known = np.isfinite(features)
    count = np.maximum(known.sum(axis=0), 1)
    centre = np.where(known, features, 0.0).sum(axis=0) / count
    scale = np.sqrt((np.where(known, features - centre, 0.0) ** 2).sum(axis=0) / count)
    return centre, np.where(scale > 1e-9 * np.abs(centre), scale, 0.0)


def _labels(train: Training, window: int, split: np.datetime64) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets over volatility of all rows, symbol after symbol, and the rows to learn from and to stop by.

    A label that ends in the tail or later is not learnt from: it would tell of the returns that judge.
    """
    goals, learn, tail, before = [], [], [], 0
    for series, labels in zip(train.series, train.targets, strict=True):
        known = _usable(series, window) & np.isfinite(labels)
        goals.append(np.divide(labels, ewma(series, train.horizon), out=np.zeros(len(series)), where=known))
        ends = np.full(len(series), train.cut, series.date.dtype)
        ends[: -train.horizon] = series.date[train.horizon :]
        learn.append(before + np.flatnonzero(known & (ends < split)))
        tail.append(before + np.flatnonzero(known & (series.date >= split)))
        before += len(series)
    return np.concatenate(goals).astype("float32"), np.concatenate(learn), np.concatenate(tail)


def _net(hidden: int, channels: int) -> Any:
    """The network without weights: made on no device first, so that PyTorch's own generator is not drawn from."""
    from torch import float32, nn

    lstm = nn.LSTM(channels, hidden, batch_first=True, dtype=float32, device="meta")
    head = nn.Linear(hidden, 1, dtype=float32, device="meta")
    return nn.ModuleDict({"lstm": lstm, "head": head}).to_empty(device="cpu")


def _first_weights(net: Any, rng: np.random.Generator) -> None:
    """Uniform within 1 / sqrt(hidden), as PyTorch does it, but a head of 0: the untrained network forecasts 0."""
    import torch

    reach = net["lstm"].hidden_size ** -0.5
    with torch.no_grad():
        for name, weight in net.named_parameters():
            drawn = np.zeros(weight.shape) if name.startswith("head") else rng.uniform(-reach, reach, weight.shape)
            weight.copy_(torch.from_numpy(drawn))


def _run(net: Any, inputs: torch.Tensor, ends: np.ndarray, window: int) -> torch.Tensor:
    """The network's output at the rows `ends`, shape (len(ends),)."""
    states, _ = net["lstm"](inputs[ends[:, None] + np.arange(1 - window, 1)])
    return net["head"](states[:, -1])[:, 0]


def _huber(net: Any, inputs: torch.Tensor, goal: torch.Tensor, ends: np.ndarray, window: int) -> Any:
    from torch.nn.functional import huber_loss

    return huber_loss(_run(net, inputs, ends, window), goal[ends])


def _loss(net: Any, inputs: torch.Tensor, goal: torch.Tensor, ends: np.ndarray, window: int) -> float:
    import torch

    with torch.no_grad():
        return float(_huber(net, inputs, goal, ends, window))


def _copy(net: Any) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in net.state_dict().items()}
