"""The models of the ML alpha as one book sees them: read from its bucket, and what is wrong with them logged once.

Nobody is asked while no agent gives the alpha a weight. A missing, expired, foreign or altered model makes the alpha neutral at
the bars that would be its own: no older model speaks for it. The book's log says so the first time, and again when the reason
changes.
"""

from __future__ import annotations

from shared.domain.asset import Asset
from shared.domain.frame import Frame
from shared.domain.interval import DAY_MS
from shared.ports import Bucket, Ledger
from shared.strategy.agents import AGENT_NAMES
from shared.strategy.ml_model import Trained, ml_scores, with_scores
from shared.strategy.ml_store import load_ml_models
from shared.strategy.params import StrategyParams
from shared.trading.analysis import Analysis
from shared.trading.params import SystemParams
from shared.trading.window import MarketWindow

_UNUSABLE, _NEUTRAL = "ML model cannot be used, its bars are neutral: ", "ML alpha is neutral: "


def wants_ml(strategy: StrategyParams) -> bool:
    """Whether any agent gives the ML alpha a weight."""
    return any(getattr(strategy, name).weights.ml_confidence for name in AGENT_NAMES)


def with_stored_ml(frame: Frame, asset: Asset, bucket: Bucket, params: SystemParams) -> tuple[Frame, tuple[str, ...]]:
    """The research form: `frame` with the scores of the stored models, as a book would have seen them, and what is wrong.

    Unchanged where no agent gives the alpha a weight.
    """
    if not any(wants_ml(strategy) for strategy in params.strategies.values()):
        return frame, ()
    stored = load_ml_models(bucket, asset, frame.interval)
    scores = ml_scores(frame, stored.trained, params.curation)
    unusable = [_UNUSABLE + problem for problem in stored.problems if problem != scores.problem]
    named = (*unusable, *([_NEUTRAL + scores.problem] if scores.problem else []))
    return with_scores(frame, scores.score), tuple(f"{asset.symbol}: {text}" for text in named)


class AlphaModels:
    """The ML models of one book, in a bucket."""

    def __init__(self, bucket: Bucket, ledger: Ledger, book: str, params: SystemParams) -> None:
        self._bucket = bucket
        self._ledger = ledger
        self._book = book
        self._asked = any(wants_ml(strategy) for strategy in params.strategies.values())
        self._known: dict[Asset, tuple[int, tuple[Trained, ...]]] = {}
        self._said: dict[tuple[Asset, str], str] = {}

    def models_for(self, window: MarketWindow, bar_close_ms: int) -> tuple[Trained, ...] | None:
        """Models of the asset, looked up once a day; `None` where no agent asks for them."""
        if not self._asked:
            return None
        day, asset = bar_close_ms // DAY_MS, window.asset
        known = self._known.get(asset)
        if known is None or known[0] != day:
            stored = load_ml_models(self._bucket, asset, window.candles.interval)
            problem = _UNUSABLE + "; ".join(stored.problems) if stored.problems else ""
            self._say(asset, problem, "every stored ML model can be used", bar_close_ms)
            known = self._known[asset] = (day, stored.trained)
        return known[1]

    def report(self, analysis: Analysis) -> None:
        """Log why the alpha is neutral at this bar, if it is and was not said before."""
        problem = _NEUTRAL + analysis.ml_problem if analysis.ml_problem else ""
        self._say(analysis.asset, problem, "ML alpha speaks again", analysis.bar_close_ms)

    def _say(self, asset: Asset, problem: str, well: str, now_ms: int) -> None:
        """Log `problem`, or `well` where there is none any more, unless that is what was said last."""
        if self._said.get((asset, well), "") != problem:
            self._said[asset, well] = problem
            self._ledger.log(self._book, "ml", "warning" if problem else "info", f"{asset.symbol}: {problem or well}", now_ms)
