"""`ost events`: messages that could not be delivered, and sending them on their way again after the fix.

Both read the subscription that holds them (`dead-letters-hold`) in the project of `bus.url`. Exit codes: 0 ok, 1 Pub/Sub cannot
be used or a message could not be sent, 2 usage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.domain.errors import MalformedData, UsageError

if TYPE_CHECKING:
    from shared.adapters.gcp.dead_letters import DeadLetter, DeadLetters

app = typer.Typer(no_args_is_help=True, help="Events that could not be delivered.")

_SHOWN_CHARS = 200

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
LimitOption = Annotated[int, typer.Option(help="Messages to look at, at most.", min=1)]


@app.callback()
def events() -> None:
    """Events that could not be delivered."""


@app.command("dead-letters")
def dead_letters(limit: LimitOption = 1000, as_json: JsonOption = False) -> None:
    """List messages that five attempts could not deliver; they stay where they are.

    Example: ost --set bus.url=pubsub://my-project events dead-letters
    """
    from shared.cli import output

    rows = [_row(letter) for letter in _letters().listed(limit)]
    output.emit({"dead_letters": rows}, as_json, view=None if as_json else _view(rows))


@app.command()
def replay(
    ids: Annotated[list[str] | None, typer.Argument(help="Events or messages by id, as `dead-letters` lists them.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that are readable as events of this version.")] = False,
    limit: LimitOption = 1000,
    as_json: JsonOption = False,
) -> None:
    """Publish messages again where they came from; each is let go once it was taken.

    A consumer that had handled one after all does nothing.

    Example: ost events replay e-7kq2v5xw6dn3mplc4aby
    """
    from shared.cli import output

    wanted = set(ids or ())
    if bool(wanted) == every:
        raise UsageError("say which: ids as `ost events dead-letters` lists them, or --all")
    seen: set[str] = set()

    def is_wanted(letter: DeadLetter) -> bool:
        found = wanted & {letter.event_id, letter.message_id}
        seen.update(found)
        return bool(found) or (every and not _problem(letter))

    done = _letters().replay(is_wanted, limit)
    kept = [{**_row(letter), "reason": reason} for letter, reason in done.kept]
    document = {"replayed": [_row(letter) for letter in done.replayed], "kept": kept, "unknown": sorted(wanted - seen)}
    lines = [f"{letter.event_id} is on its way to {letter.topic} again" for letter in done.replayed]
    output.emit(document, as_json, view="\n".join(lines) or "nothing was sent")
    for name in sorted(wanted - seen):
        output.print_error(f"{name}: no such message among the dead letters")
    for row in kept:
        output.print_error(f"{row['event']}: {row['reason']}; it stays")
    if kept or wanted - seen:
        raise typer.Exit(1)


def _letters() -> DeadLetters:
    from shared.cli import wiring

    url = wiring.settings().bus.url
    if url is None:
        raise UsageError("there is no Pub/Sub here: name the project with --set bus.url=pubsub://PROJECT")
    from shared.adapters.gcp.bus import project_of
    from shared.adapters.gcp.dead_letters import DeadLetters

    return DeadLetters(project_of(url))


def _problem(letter: DeadLetter) -> str:
    """Why a message cannot be read as an event; empty where it can."""
    from shared.domain.event_reading import read_event

    try:
        read_event(letter.data)
    except MalformedData as error:
        return str(error)
    return ""


def _row(letter: DeadLetter) -> dict[str, Any]:
    return {
        "event": letter.event_id,
        "message": letter.message_id,
        "type": letter.event_type,
        "subject": letter.attributes.get("subject", ""),
        "subscription": letter.subscription,
        "topic": letter.topic,
        "attempts": letter.attempts,
        "dead_since_ms": letter.published_ms,
        "problem": _problem(letter),
        "data": letter.data[:_SHOWN_CHARS].decode(errors="replace"),
    }


def _view(rows: list[dict[str, Any]]) -> Any:
    from shared.cli import output
    from shared.domain.interval import format_ms

    if not rows:
        return "there are no dead letters"
    columns = ("since", "event", "about", "subscription", "attempts", "problem")
    cells = [
        (
            format_ms(row["dead_since_ms"]),
            row["event"],
            row["subject"],
            row["subscription"],
            row["attempts"],
            row["problem"] or "readable; see the log of its consumer",
        )
        for row in rows
    ]
    return output.table(columns, cells, title="dead letters, oldest first", right=("attempts",), whole=("event",))
