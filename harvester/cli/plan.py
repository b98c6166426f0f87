"""`harvester plan`: what a harvest will cost the Registry, before it is begun."""

from __future__ import annotations

from rich.table import Table

from harvester.ask import confirm
from harvester.cli import options
from harvester.cli.exits import COMPLETE
from harvester.cli.filters import scope_of
from harvester.cli.session import Session, with_session
from harvester.cli.terminal import print_json, print_sentence, print_table
from harvester.cli.text import duration, number
from harvester.harvest import Outcome, Plan, estimate
from harvester.registry import RegistryClient
from harvester.registry.resources import OBJECTS


@with_session
def plan_command(
    session: Session,
    filters: options.Filters = None,
    resources: options.Resources = None,
    concurrency: options.Concurrency = None,
    rate: options.Rate = None,
    per_page: options.PerPage = None,
    strategy: options.Strategy = None,
    json: options.Json = False,
) -> int:
    """Say what a harvest would cost, and how long it would take.

    Asks for a handful of counts only.

    \b
    Examples:
      harvester plan
      harvester plan state=A --resources objects,files
    """
    flags = {
        "resources": resources,
        "concurrency": concurrency,
        "rate": rate,
        "per_page": per_page,
        "strategy": strategy,
    }
    scope = scope_of(session.settings(**flags), filters or ())

    async def work(client: RegistryClient) -> Plan:
        await confirm(client, OBJECTS, scope.filters)
        return await estimate(client, scope)

    planned = session.ask(work, **flags)
    if json:
        print_json(planned.as_json())
    else:
        print_sentence(expected(planned))
        print_table(table(planned))
        print_sentence(choice(planned))
    return COMPLETE


def table(plan: Plan) -> Table:
    """The cost of each strategy for people."""
    shown = Table(box=None, padding=(0, 3, 0, 0), header_style="dim")
    for heading in ("strategy", "requests", "Registry CPU", "time"):
        shown.add_column(heading, justify="left" if heading == "strategy" else "right")
    for name, cost in plan.costs.items():
        style = "bold" if name == plan.strategy else ""
        cells = number(cost.requests), duration(cost.server_seconds), duration(cost.eta)
        shown.add_row(name, *cells, style=style)
    return shown


def expected(plan: Plan) -> str:
    """What there is, in one line."""
    rows = ", ".join(f"{number(count)} {name}" for name, count in plan.rows.items())
    return f"expecting {'' if plan.rows == plan.whole else 'about '}{rows}"


def choice(plan: Plan) -> str:
    """Which strategy, and why, in one line."""
    return f"strategy: {plan.strategy} ({plan.why})"


def announcement(plan: Plan) -> list[str]:
    """The plan as a harvest says it first."""
    if not plan.costs:
        return [f"{expected(plan)}; {choice(plan)}"]
    cost = plan.chosen
    requests, cpu, eta = number(cost.requests), duration(cost.server_seconds), duration(cost.eta)
    figures = f"{requests} requests, {cpu} of the Registry's CPU, {eta} in all"
    return [expected(plan), f"{choice(plan)}: about {figures}"]


def comparison(plan: Plan | None, outcome: Outcome) -> list[str]:
    """At the end, how the plan held; nothing if there was none."""
    if plan is None or not plan.costs:
        return []
    run, cost = outcome.manifest.run, plan.chosen
    requests = sum(run.requests.values())
    return [
        f"planned {number(cost.requests)} requests and {duration(cost.eta)},"
        f" took {number(requests)} and {duration(run.seconds)}"
    ]
