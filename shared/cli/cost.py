"""`ost cost`: the monthly bill of a deployment, from its Terraform variables.

Nothing is asked of the cloud: prices are a table with dates and sources (`cost_prices.yaml`). Exit codes: 0 ok, 2 usage.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from shared.cli.cost_bill import Bill
    from shared.cli.cost_terraform import Deployment

SHIPPED = "infra/environments/production.tfvars"
DEFAULT_TFVARS = Path(__file__).parents[2] / SHIPPED
"""of this repository, whatever the working directory"""


def cost(
    tfvars: Annotated[Path, typer.Option(help="Variables of a deployment.", show_default=SHIPPED)] = DEFAULT_TFVARS,
    assets: Annotated[int | None, typer.Option(min=1, help="Another number of assets than the file's symbols.")] = None,
    profile: Annotated[str | None, typer.Option(help="Another profile than the file's: schedule or stream.")] = None,
    mode: Annotated[str | None, typer.Option(help="Another mode than the file's: paper, testnet or live.")] = None,
    without_free_tier: Annotated[
        bool, typer.Option("--without-free-tier", help="Other projects of the billing account use up what is free.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines, with every line.")] = False,
) -> None:
    """Compute the monthly bill per component, US dollars at list price.

    Example: ost cost --tfvars infra/environments/staging.tfvars --assets 1000 --mode testnet
    """
    from shared.cli import output
    from shared.cli.cost_bill import PRICED_REGION, make_bill, price_table
    from shared.cli.cost_terraform import read_deployment
    from shared.cli.cost_usage import Assumptions, monthly_usage

    deployment = read_deployment(tfvars, assets, profile, mode)
    assumptions, prices = Assumptions(), price_table()
    bill = make_bill(monthly_usage(deployment, assumptions), prices, with_free=not without_free_tier)
    report = {
        "tfvars": str(tfvars),
        "deployment": deployment,
        "total_usd": round(bill.total_usd, 2),
        "components_usd": {name: round(usd, 2) for name, usd in bill.by_component().items()},
        "free_usd": {sku: round(usd, 2) for sku, usd in bill.free.items()},
        "lines": bill.lines,
        "assumptions": assumptions,
        "prices_of_region": PRICED_REGION,
        "prices": {sku: prices[sku] for sku in sorted({line.sku for line in bill.lines})},
    }
    output.emit(
        report, as_json, view=None if as_json else _view(tfvars, deployment, bill, min(p.checked for p in prices.values()))
    )


def _view(tfvars: Path, deployment: Deployment, bill: Bill, checked: Any) -> Any:
    from rich.console import Group
    from rich.markup import escape

    from shared.cli import output
    from shared.cli.cost_bill import PRICED_REGION
    from shared.cli.texts import fixed

    rows = [(name, fixed(usd), _why(name, bill)) for name, usd in bill.by_component().items()]
    free = sum(bill.free.values())
    rows.append(("free tier", fixed(-free), "of the billing account, once"))
    rows.append(("total", fixed(bill.total_usd), f"{fixed(bill.total_usd * 12)} a year"))
    title = escape(
        f"{tfvars.name}: {deployment.assets} assets, profile {deployment.profile}, mode {deployment.mode}, US dollars a month"
    )
    table = output.table(("component", "USD", "mostly"), rows, title=title, right=("USD",), whole=("component",))
    notes = [f"list prices of {checked} without taxes; every line with its source: --json; the traps: docs/cost.md"]
    if deployment.region != PRICED_REGION:
        notes.append(f"the prices are those of {PRICED_REGION}; {deployment.region} may cost 10 to 30 % more or less")
    return Group(table, *notes)


def _why(component: str, bill: Bill) -> str:
    """The dearest line of a component, in words."""
    line = max((line for line in bill.lines if line.component == component), key=lambda line: line.usd)
    return f"{line.quantity:,.0f} {line.unit} ({line.sku.replace('_', ' ')})"
