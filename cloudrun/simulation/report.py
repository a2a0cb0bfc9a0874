"""`docs/reliability.md`: what fails, what is correct, how many seeds were run, how often it went wrong."""

from __future__ import annotations

from collections.abc import Mapping

from cloudrun.simulation.long_runs import Runs, section
from cloudrun.simulation.runner import Tally, replay_command
from cloudrun.simulation.scenarios import RANDOM, SCENARIOS

_HEAD = """# Reliability

The real session and the real trader against the core of the paper exchange, in one process and in simulated time
(`cloudrun/simulation/`). One seed drives market, latency and faults: requests that are refused, lost before or after they were
executed, executed late, delayed, throttled, answered with what nobody can read; one endpoint that fails for good; streams and
single channels that drop, delay, repeat, reorder, garble or fall silent; kills and freezes at any await and any port call; a
ledger that is away or hangs; clocks that jump; two instances at once. Everything between the decision and the wire is the
product's own code: session, execution, reconciliation, the SQL ledger, the exchange adapter on ccxt. The sockets of the
streams are replaced; but in `real-models` the analyst is a script.

In every run these invariants are watched, and checked once more when everything has come to rest:

- an order is sent and executed only with its intent in the ledger, under a lease that has not run out, not while halted or
  paused, not on stale data; nothing opens after SIGTERM; nothing is asked before a Retry-After is over;
- one order for each leg of a decision, one decision for each bar, commits by one writer at a time;
- ledger position = sum of its fills = the venue's position; the account's equity identity holds to 1e-9;
- no position without a protective stop beyond the deadline while orders can be placed, none beyond what was decided;
- no position left without its stop for 90 s once orders could be placed again, whether a process lives or refuses to start;
- no intent without a final state, unless it rests at the venue or its symbol is frozen with the open question;
- once the faults are over the book decides and trades again, unless something that is told explains why not;
- no task and no connection is left behind, no exception is lost.

Besides them each scenario checks the behaviour of its own row, and `tests/simulation/test_checks_can_fail.py` removes that
behaviour from the program and expects the scenario to complain.

`ost simulate --report docs/reliability.md` writes this page. A failing seed prints the command that replays it;
`ost simulate --scenario NAME --seeds 1 --first SEED --verbose` tells the story of any of them.
"""
_ELSEWHERE = """
Two rows of the list of failures are proven elsewhere: the canary controller comes with releases, dead letters with the events'
consumers. Here the outbox is proven (`bus-down`).
"""


def page(tallies: Mapping[str, Tally], runs: Runs) -> str:
    """The page as Markdown. `tallies` by scenario, the random worlds among them; `runs` are the newest long ones."""
    rows = ["| failure | correct behaviour | scenario | seeds | violations |", "| --- | --- | --- | ---: | ---: |"]
    for name, scenario in SCENARIOS.items():
        rows.append(_row(scenario.failure, scenario.behaviour, name, tallies.get(name)))
    everything = tallies.get(RANDOM)
    rows.append(_row("Everything at once, by chance", "all of the above", RANDOM, everything))
    return f"{_HEAD}\n" + "\n".join(rows) + f"\n{_ELSEWHERE}{_totals(tallies)}{section(runs)}"


def _row(failure: str, behaviour: str, name: str, tally: Tally | None) -> str:
    seeds, violated = (tally.seeds, len(tally.violated)) if tally else (0, 0)
    return f"| {failure} | {behaviour} | `{name}` | {seeds} | {violated} |"


def _totals(tallies: Mapping[str, Tally]) -> str:
    total = [
        sum(getattr(tally, name) for tally in tallies.values())
        for name in ("seeds", "faults", "processes", "decisions", "orders", "fills")
    ]
    seeds, faults, processes, decisions, orders, fills = (f"{number:,}" for number in total)
    text = (
        f"\n{seeds} seeds: {faults} faults, {processes} processes, {decisions} decisions, {orders} orders on the wire, "
        f"{fills} executions.\n"
    )
    violated = [(tally.scenario, outcome) for tally in tallies.values() for outcome in tally.violated[:5]]
    return text + "".join(f"\n- `{replay_command(name, run.seed)}`: {run.violations[0]}\n" for name, run in violated)
