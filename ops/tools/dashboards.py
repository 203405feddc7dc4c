#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the Grafana dashboards: ops/grafana/*.json.

usage: dashboards.py [FOLDER]

A dashboard is rows of panels, a panel is a title, what it shows and its expressions. $worker narrows to kinds of
workers; the data source is a variable, so that the files can be imported anywhere. Replicas tell the same of a consumer
or a stream: `max by` takes one of them.
"""
import json
import sys
from pathlib import Path

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
RATE = "[$__rate_interval]"
WIDTH, HEIGHT = 24, 8


def rate(metric, by, where=""):
    return f"sum by ({by}) (rate({metric}{{{where}}}{RATE}))" if where else f"sum by ({by}) (rate({metric}{RATE}))"


def quantiles(metric, by, where=""):
    """p50 and p99 of a histogram."""
    return {f"p{int(q * 100)} {{{{{by}}}}}": f"histogram_quantile({q}, {rate(metric + '_bucket', f'le, {by}', where)})"
            for q in (0.5, 0.99)}


def graph(title, expressions, unit="short", about="", stack=False, w=8):
    """Lines over time; expressions: legend → PromQL."""
    return {"type": "timeseries", "title": title, "unit": unit, "about": about, "w": w, "expressions": expressions,
            "custom": {"drawStyle": "line", "fillOpacity": 10, "stacking": {"mode": "normal" if stack else "none"}},
            "options": {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                        "tooltip": {"mode": "multi", "sort": "desc"}}}


def number(title, expressions, unit="short", about="", red=None, words=None, w=6, good_from=None):
    """The newest values, large. red: from here on; good_from: red below; words: value → text."""
    steps = [{"color": "green", "value": None}]
    if good_from is not None:
        steps = [{"color": "red", "value": None}, {"color": "green", "value": good_from}]
    if red is not None:
        steps.append({"color": "red", "value": red})
    mappings = [{"type": "value", "options": {str(v): {"text": text} for v, text in words.items()}}] if words else []
    return {"type": "stat", "title": title, "unit": unit, "about": about, "w": w, "h": 5, "expressions": expressions,
            "thresholds": {"mode": "absolute", "steps": steps}, "mappings": mappings,
            "options": {"colorMode": "background", "graphMode": "none", "textMode": "value_and_name",
                        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}}


W = 'job="echora", worker=~"$worker"'
BY_CONSUMER = "max by (consumer) ({}{{" + W + "}})"
LEADS = "and on (instance, outbox) echora_relay_active == 1"
SYNC = 'job="echora", worker="qdrant-sync"'
OTHERWISE = ', outcome!~"done|skip|not-for-us"'
API = 'job="echora", worker="command-api"'
DLQ = 'subject=~"dlq[.].+"'


def ended(by, where=""):
    return rate("echora_messages_processed_total", by, where)


def of_leader(metric):
    return f"max by (stream) ({metric} {LEADS})"


def full(stream):
    return {"{{stream}}": f'max by (stream) (echora_stream_full_ratio{{stream="{stream}"}})'}


FLEET = {
    "Health": [
        number("Ready", {"{{worker}} {{instance}}": f"echora_ready{{{W}}}"}, good_from=1,
               words={0: "not ready", 1: "ready"}, about="What /readyz answers. A worker that is missing is gone."),
        number("Not answering", {"{{worker}} {{instance}}": f"up{{{W}}} == 0"}, red=0, words={0: "absent"},
               about="Targets whose metrics can't be read."),
        number("Away", {"{{dependency}} for {{worker}}": f"(time() - echora_breaker_opened_timestamp_seconds{{{W}}}) "
                        f"and (echora_breaker_open{{{W}}} == 1)"}, "s", red=0,
               about="Open breakers, and since when: these dependencies do not serve."),
        number("Alerts", {"{{severity}} {{alertname}}":
                          'count by (severity, alertname) (ALERTS{alertname=~"Echora.+", alertstate="firing"})'}, red=1,
               about="Firing now. Their annotation runbook names the page."),
    ],
    "Flow": [
        graph("Events done", {"{{consumer}}": ended("consumer", f'{W}, outcome="done"')},
              "ops"),
        graph("Events that ended otherwise", {"{{consumer}} {{outcome}}": ended("consumer, outcome", W + OTHERWISE)},
              "ops", about="Tried again, held for a dependency, or given up."),
        graph("Waiting", {"{{consumer}}": BY_CONSUMER.format("echora_consumer_pending")},
              about="Events that the consumer was not given yet."),
        graph("In hand, of what may be", {"{{consumer}}": f"max by (consumer) (echora_consumer_in_hand{{{W}}} "
                                          f"/ echora_consumer_in_hand_limit{{{W}}})"}, "percentunit",
              about="At 100 % nats-server gives out nothing more."),
        graph("Came again", {"{{consumer}}": rate("echora_messages_redelivered_total", "consumer", W)}, "ops"),
        number("Paused", {"{{consumer}}": f"max by (consumer) (echora_consumer_paused{{{W}}}) == 1"}, red=1,
               words={1: "paused"}, about="By a person: echora status tells who and why.", w=8) | {"h": HEIGHT},
    ],
    "Latency": [
        graph("Age when handling starts", quantiles("echora_message_age_seconds", "consumer", W), "s",
              about="Since the broker stored the event. Beyond 10 s the histogram does not tell; see the mean."),
        graph("Mean age", {"{{consumer}}": f"{rate('echora_message_age_seconds_sum', 'consumer', W)} "
                           f"/ {rate('echora_message_age_seconds_count', 'consumer', W)}"}, "s"),
        graph("Handling of a batch", quantiles("echora_batch_process_duration_seconds", "consumer", W), "s"),
        graph("Requests", {"{{subject}} {{outcome}}": rate("echora_requests_total", "subject, outcome", W)}, "reqps"),
        graph("Time of a request", quantiles("echora_request_duration_seconds", "subject", W), "s"),
        graph("Streams, how full", {"{{stream}}": "max by (stream) (echora_stream_full_ratio)"}, "percentunit",
              about="ANIME_ADVISORY and those of WORKER_ drop their oldest; the others refuse."),
    ],
    "Processes": [
        graph("Memory", {"{{worker}} {{instance}}": f"process_resident_memory_bytes{{{W}}}"}, "bytes"),
        graph("CPU", {"{{worker}} {{instance}}": f"rate(process_cpu_seconds_total{{{W}}}{RATE})"}, "percentunit"),
        graph("File descriptors", {"{{worker}} {{instance}}": f"process_open_fds{{{W}}}"}),
        graph("Restarts within an hour",
              {"{{worker}} {{instance}}": f"changes(process_start_time_seconds{{{W}}}[1h])"}),
        graph("Breakers opened", {"{{worker}} {{dependency}} {{code}}": f"sum by (worker, dependency, code) "
                                  f"(increase(echora_breaker_trips_total{{{W}}}{RATE}))"}),
        graph("Pull requests without an answer",
              {"{{consumer}}": rate("echora_pull_trouble_total", "consumer", W)}, "ops"),
    ],
}

LETTERS = {
    "Now": [
        number("Letters", {"{{state}}": "max by (state) (echora_dead_letters)"},
               about="parked: replayed three times, and offered no more by itself.", w=8),
        number("Oldest open one", {"waits": "time() - (max(echora_dead_letters_oldest_timestamp_seconds) > 0)"}, "s",
               red=7 * 86400, about="Letters leave ANIME_DLQ after 30 days.", w=4),
        number("Plans", {"{{state}}": "max by (state) (echora_replay_plans)"},
               about="Running, and stopped by their canary within the last day.", w=6),
        number("Crash letters", {"{{consumer}}": 'max by (consumer) (echora_dead_letters_open{class="crash"})'}, red=1,
               about="Events that brought their worker down.", w=6),
    ],
    "Open letters": [
        graph("By consumer, class and code", {"{{consumer}} {{class}} {{code}}":
                                              "max by (consumer, class, code) (echora_dead_letters_open) > 0"},
              stack=True, w=16),
        graph("ANIME_DLQ, how full", full("ANIME_DLQ"),
              "percentunit", about="Full, it stops the consumers whose letters have no place."),
    ],
    "Coming in": [
        graph("Written by workers", {"{{consumer}} {{class}}": rate("echora_dlq_records_total", "consumer, class")},
              "ops"),
        graph("Refused events", {"{{consumer}}": ended("consumer", 'outcome="reject"')},
              "ops", about="Wrong from the start. Much of it is a publisher gone wild."),
        graph("Written for workers that could not", {"{{by}}": rate("echora_dlq_swept_total", "by")}, "ops",
              about="Given up by the server: told by its advisory, or found by reconciliation."),
        graph("Given up and not explained", {"{{consumer}}": "max by (consumer) (echora_dlq_unexplained)"},
              about="By the server's count, without a letter; which events it was can't be told."),
        graph("Reconciliations", {"looks": f"sum(rate(echora_dlq_reconciliations_total{RATE}))"}, "ops"),
        graph("Letters that could not be stored",
              {"{{consumer}}": rate("echora_dlq_publish_failures_total", "consumer")}, "ops",
              about="Their events are held, and the consumer fetches nothing more."),
    ],
    "Index and replay": [
        graph("Replays and discards", {"{{outcome}}": rate("echora_dlq_replays_total", "outcome")}, "ops",
              about="sent and enqueued come again as done or failed."),
        graph("Published, no outcome yet", {"letters": "max(echora_dlq_replays_without_outcome)"}),
        graph("Behind the stream", {"{{consumer}}": 'max by (consumer) (echora_consumer_pending{consumer=~"dlq-.+"})'},
              about="dlq-index: letters not in the index yet; dlq-sweeper: given up by the server, no letter yet."),
        graph("Requests", {"{{subject}} {{outcome}}": rate("echora_requests_total", "subject, outcome", DLQ)},
              "reqps"),
        graph("Time of a request", quantiles("echora_request_duration_seconds", "subject", DLQ), "s"),
    ],
}

OUTBOX = {
    "Lag": [
        number("Active relay", {"{{outbox}} {{instance}}": "echora_relay_active == 1"}, words={1: "active"}, w=6,
               about="One for each outbox, never two."),
        number("How many are active", {"{{outbox}}": "sum by (outbox) (echora_relay_active) or vector(0)"}, good_from=1,
               red=2, w=6, about="With none, rows wait and Qdrant stands still."),
        number("Oldest row kept", {"{{outbox}}": "max by (outbox) (echora_outbox_oldest_row_seconds)"}, "s", w=6,
               about="Published rows are kept for 48 h by default; much more: slots are not emptied."),
        number("Slots with rows", {"{{outbox}}": "max by (outbox) (echora_outbox_slots)"}, w=6),
        graph("Seconds behind", {
            "{{stream}} open batch": of_leader("echora_relay_lag_seconds"),
            "{{stream}} behind it": of_leader("echora_outbox_waiting_seconds"),
        }, "s", w=12),
        graph("Rows behind", {
            "{{stream}} open batch": of_leader("echora_relay_lag_rows"),
            "{{stream}} behind it": of_leader("echora_outbox_waiting_rows"),
        }, w=12),
    ],
    "Publishing": [
        graph("Messages", {"{{stream}} sent": rate("echora_relay_published_total", "stream"),
                           "{{stream}} stored": rate("echora_relay_acknowledged_total", "stream")}, "ops"),
        graph("Refused", {"{{stream}}": rate("echora_relay_rejected_total", "stream")}, "ops",
              about="A full stream, or a message in between that is not the relay's."),
        graph("Position read again", {"{{stream}}": rate("echora_relay_recoveries_total", "stream")}, "ops",
              about="After each start and each trouble."),
        graph("Batches", {"{{stream}}": rate("echora_relay_batches_total", "stream")}, "ops"),
        graph("Rows of a batch", {"{{stream}}": "max by (stream) (echora_relay_batch_rows)"}),
        graph("Slots emptied", {"{{outbox}}": rate("echora_outbox_slots_emptied_total", "outbox")}, "ops"),
    ],
    "The writer": [
        graph("Operations", {"{{outcome}}": rate("echora_catalogue_operations_total", "outcome")}, "ops"),
        graph("Done again", {"transactions redone": f"sum(rate(echora_catalogue_redone_total{RATE}))",
                             "batches halved": f"sum(rate(echora_catalogue_halved_total{RATE}))"}, "ops",
              about="Deadlocks and serialisation failures; an error of one event in a batch."),
        graph("Unknown enum numbers",
              {"stored as UNKNOWN": f"sum(rate(echora_catalogue_unknown_enums_total{RATE}))"}, "ops",
              about="Publishers are newer than the writer."),
    ],
}

QDRANT = {
    "Now": [
        number("Dependencies", {"{{dependency}} {{instance}}": f"echora_dependency_up{{{SYNC}}}"}, good_from=1,
               words={0: "away", 1: "there"}, w=8),
        number("Vectors owed", {"{{instance}}": f"echora_qdrant_vectors_owed{{{SYNC}}}"}, red=1,
               words={0: "none", 1: "owed"}, about="Points wait for the embedding provider.", w=4),
        number("Last event done", {"{{consumer}}": "time() - (max by (consumer) "
                                   f"(echora_last_success_timestamp_seconds{{{SYNC}}}) > 0)"}, "s", w=12,
               about="How long ago. Long is no fault where nothing changes."),
    ],
    "Flow": [
        graph("Changes done", {"{{consumer}}": ended("consumer", f'{SYNC}, outcome="done"')},
              "ops"),
        graph("Waiting", {"{{consumer}}": f"max by (consumer) (echora_consumer_pending{{{SYNC}}})"}),
        graph("Points", {"{{action}}": rate("echora_qdrant_points_total", "action", SYNC)}, "ops",
              about="nothing: the index had it already."),
        graph("Age when handling starts", quantiles("echora_message_age_seconds", "consumer", SYNC), "s"),
        graph("Handling of a batch", quantiles("echora_batch_process_duration_seconds", "consumer", SYNC), "s"),
        graph("Events that ended otherwise", {"{{consumer}} {{outcome}}": ended("consumer, outcome", SYNC + OTHERWISE)},
              "ops"),
    ],
    "Drift": [
        graph("Found by repair", {"{{drift}}": f"sum by (drift) (increase(echora_repair_drift_total{{{SYNC}}}[1h]))"},
              about="Within an hour. missing, stale: repaired; surplus: left to people; pending: without its vector."),
        graph("Sent to be synced", {"within an hour": f"sum(increase(echora_repair_enqueued_total{{{SYNC}}}[1h]))"}),
        graph("Passes", {"within a day": f"sum(increase(echora_repair_passes_total{{{SYNC}}}[1d]))"}),
        graph("Written without a vector", {"points": f"sum(rate(echora_qdrant_pending_total{{{SYNC}}}{RATE}))"},
              "ops", w=12),
        graph("ANIME_SYNC, how full", full("ANIME_SYNC"),
              "percentunit", w=12),
    ],
}

PEOPLE = {
    "Webhooks": [
        graph("Calls", {"{{route}} {{class}}": rate("echora_webhook_attempts_total", "route, class")}, "reqps",
              about="delivered; refused: parked; auth, misconfigured, trouble: tried again; gone: the route is closed."),
        graph("Time of a call", quantiles("echora_webhook_seconds", "route"), "s"),
        graph("Waiting", {"{{consumer}}": 'max by (consumer) (echora_consumer_pending{consumer=~"adapter-.+"})'},
              about="Events that no receiver has taken yet."),
        number("The oldest waits", {"{{route}}": "max by (route) (time() - (echora_webhook_oldest_timestamp_seconds > 0))"},
               "s", red=1800, about="Streams forget events after 7 days, dead letters after 30."),
        number("Disabled", {"{{route}}": "max by (route) (echora_webhook_route_disabled)"}, red=1,
               words={0: "enabled", 1: "disabled"}, about="The receiver answered 410; a person enables the route."),
        number("Time limit of a call", {"{{route}}": "max by (route) (echora_webhook_time_limit_seconds)"}, "s"),
        number("Log refused", {"{{route}}": "sum by (route) (increase(echora_webhook_unrecorded_total[1h]))"}, red=4,
               about="Within an hour: times that PostgreSQL did not take attempts."),
    ],
    "Risky updates": [
        number("Waiting", {"updates": "max(echora_catalogue_reviews_pending)"}, red=100, w=6),
        number("The oldest waits", {"for": "max(echora_catalogue_review_oldest_seconds)"}, "s", red=7 * 86400, w=6),
        graph("What became of them", {"{{outcome}}": "sum by (outcome) (increase(echora_catalogue_reviews_total[1h]))"},
              w=12, about="Within an hour. reminded: announced a second time."),
        number("Discarded after", {"undecided": "max(echora_catalogue_review_expire_seconds)"}, "s", w=6),
        number("Chores that failed", {"{{outcome}}": "sum by (outcome) "
                                      "(increase(echora_catalogue_review_failures_total[1h]))"}, red=4, w=6,
               about="Within an hour: what could not be reminded of, or ended."),
    ],
}

COMMAND_API = {
    "Calls": [
        graph("Calls", {"{{call}} {{status}}": rate("echora_command_calls_total", "call, status")}, "reqps"),
        graph("Refused, by code", {"{{code}}": rate("echora_command_refusals_total", "code")}, "reqps",
              about="What each code means: /docs on the running API."),
        graph("Time of a call", quantiles("echora_command_duration_seconds", "call"), "s"),
        number("In flight", {"calls": "sum(echora_command_in_flight)"}, w=4, red=48, about="More than 64 are refused with 503."),
        number("Audit records refused", {"within an hour": "sum(increase(echora_command_audit_failures_total[1h]))"}, red=1,
               w=4, about="By the stream AUDIT. Approvals are refused meanwhile, other calls are not."),
        number("Ready", {"worker": f"min(echora_ready{{{API}}})"}, w=4, words={0: "not ready", 1: "ready"}, good_from=1),
        number("Redis", {"its breaker": f'max(echora_breaker_open{{dependency="redis",{API}}})'}, w=4, red=1,
               words={0: "there", 1: "away"}, about="Away: calls that need an Idempotency-Key are refused with 503."),
        graph("Answered 5xx", {"{{call}}": rate("echora_command_calls_total", "call", 'status="5xx"') + " / "
                               + rate("echora_command_calls_total", "call")}, "percentunit",
              about="Who serves the call on the bus is away, not ready or late: ops/runbooks/command-api.md."),
        graph("Time of who answers", quantiles("echora_request_duration_seconds", "subject",
                                               'subject=~"catalog.review.+|catalog.reconcile|dlq.+"'), "s", w=12,
              about="On the bus; what is above it in the time of a call is the Command API's."),
        graph("Too many calls", {"{{code}}": rate("echora_command_refusals_total", "code", 'code="rate_limited"')},
              "reqps", w=12, about="Whose: log lines with the code rate_limited."),
    ],
    "Who calls": [
        graph("Tokens", {"{{outcome}}": rate("echora_tokens_total", "outcome")}, "reqps",
              about="ok: taken; what the others mean: ops/runbooks/tokens.md."),
        number("The issuer's keys", {"keys": "max(echora_jwks_keys)"}, good_from=1, w=4),
        number("Read last", {"ago": "max(echora_jwks_age_seconds)"}, "s", red=3600, w=4,
               about="Every 10 minutes; -1: never. After 24 hours nobody is let in."),
        graph("Keys that could not be read", {"within an hour": "sum(increase(echora_jwks_failures_total[1h]))"}),
    ],
}

# File → title and rows.
DASHBOARDS = {
    "echora-command-api": ("Echora: Command API", COMMAND_API),
    "echora-fleet": ("Echora: fleet", FLEET),
    "echora-dead-letters": ("Echora: dead letters and replay", LETTERS),
    "echora-outbox": ("Echora: outbox and relay", OUTBOX),
    "echora-people": ("Echora: webhooks and risky updates", PEOPLE),
    "echora-qdrant": ("Echora: Qdrant sync", QDRANT),
}


def targets(expressions):
    return [{"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": expression, "legendFormat": legend,
             "range": True}
            for i, (legend, expression) in enumerate(expressions.items())]


def panel(number_of, spec, x, y):
    defaults = {"unit": spec["unit"], "min": 0, "mappings": spec.get("mappings", [])}
    if "thresholds" in spec:
        defaults |= {"thresholds": spec["thresholds"], "color": {"mode": "thresholds"}}
    if "custom" in spec:
        defaults |= {"custom": spec["custom"], "color": {"mode": "palette-classic"}}
    return {"id": number_of, "type": spec["type"], "title": spec["title"], "description": spec["about"],
            "datasource": SOURCE,
            "gridPos": {"x": x, "y": y, "w": spec["w"], "h": spec.get("h", HEIGHT)},
            "targets": targets(spec["expressions"]),
            "fieldConfig": {"defaults": defaults, "overrides": []}, "options": spec["options"]}


def layout(rows):
    """Panels from left to right, below each other where the width is spent."""
    out, y = [], 0
    for title, specs in rows.items():
        out.append({"id": len(out) + 1, "type": "row", "title": title, "collapsed": False, "panels": [],
                    "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}})
        x, y, height = 0, y + 1, 0
        for spec in specs:
            if x + spec["w"] > WIDTH:
                x, y, height = 0, y + height, 0
            out.append(panel(len(out) + 1, spec, x, y))
            x, height = x + spec["w"], max(height, spec.get("h", HEIGHT))
        y += height
    return out


def variables(rows):
    out = [{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0,
            "refresh": 1, "multi": False, "includeAll": False}]
    if "$worker" in json.dumps(rows):
        query = 'label_values(up{job="echora"}, worker)'
        out.append({"name": "worker", "label": "Worker", "type": "query", "datasource": SOURCE, "definition": query,
                    "query": {"query": query, "refId": "workers"}, "refresh": 2, "sort": 1, "hide": 0, "multi": True,
                    "includeAll": True, "allValue": ".+", "current": {"text": ["All"], "value": ["$__all"]}})
    return out


def dashboard(uid, title, rows):
    return {"uid": uid, "title": title, "tags": ["echora"], "schemaVersion": 38, "version": 1, "editable": True,
            "graphTooltip": 1, "refresh": "30s", "timezone": "", "time": {"from": "now-6h", "to": "now"},
            "annotations": {"list": []}, "templating": {"list": variables(rows)}, "panels": layout(rows),
            "links": [{"type": "dashboards", "title": "Echora", "tags": ["echora"], "asDropdown": True,
                       "keepTime": True, "includeVars": True, "icon": "external link", "targetBlank": False}]}


def main():
    default = Path(__file__).resolve().parents[2] / "ops/grafana"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    folder.mkdir(parents=True, exist_ok=True)
    for uid, (title, rows) in DASHBOARDS.items():
        text = json.dumps(dashboard(uid, title, rows), indent=1, ensure_ascii=False)
        (folder / f"{uid}.json").write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
