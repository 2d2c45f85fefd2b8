"""Holds the ledger against the load generator's count: a gateway that is fast because it does not record is not measured."""

import time
from decimal import Decimal

import bodies
from process import Failed

SETTLE_SECONDS = 30

STATEMENT = """
SELECT count(*) AS row_count,
       count(*) FILTER (WHERE outcome = 'ok') AS ok,
       count(*) FILTER (WHERE outcome = 'ok' AND cost_status = 'priced' AND usage_source = 'reported' AND team = 'growth') AS priced,
       count(*) FILTER (WHERE outcome NOT IN ('ok', 'client_aborted')) AS other,
       sum(cost) FILTER (WHERE outcome = 'ok') AS cost,
       count(DISTINCT call_id) AS call_ids
FROM usage
"""


def check(gateway, answered, in_flight_max):
    """The rows must be the requests that were answered, plus at most those that the load generator left in flight when it stopped.

    Calls that are cut off at the end of a run are settled after it, so the rows are counted until two counts agree.
    """
    deadline = time.monotonic() + SETTLE_SECONDS
    rows = gateway.sql(STATEMENT)[0]
    while True:
        time.sleep(0.5)
        again = gateway.sql(STATEMENT)[0]
        if again == rows and rows["row_count"] >= answered:
            break
        if time.monotonic() > deadline:
            raise Failed(f"{answered} requests were answered, but the ledger does not settle: {rows}, then {again}")
        rows = again
    cost = Decimal(rows["cost"] or 0)
    found = {"answered": answered, "in_flight_max": in_flight_max, **rows}
    if not answered <= rows["row_count"] <= answered + in_flight_max:
        raise Failed(f"{answered} requests were answered and at most {in_flight_max} were in flight, but the rows are others: {rows}")
    if rows["call_ids"] != rows["row_count"] or rows["other"]:
        raise Failed(f"rows that no request explains: {rows}")
    if not answered <= rows["ok"] == rows["priced"]:
        raise Failed(f"{answered} requests were answered, but not so many rows are complete: {rows}")
    if cost != bodies.COST * rows["ok"]:
        raise Failed(f"{rows['ok']} calls at {bodies.COST} cost {bodies.COST * rows['ok']}, but the ledger says {cost}")
    return found
