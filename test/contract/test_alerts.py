"""Alert rules: promtool takes them, each fires on a bad series and keeps silent on one that is nearly as bad."""
import json
import re

import pytest
from harness.promql import RULES, alerts, field, promtool, reference, rule_alone, unknown
from harness.settings import ROOT

from ops.fleet.fleet import PORTS, WORKERS

W = 'job="echora",worker="relay",instance="a"'
Q = 'job="echora",worker="qdrant-sync",instance="a"'
C = 'stream="ANIME_EVENTS",consumer="catalog-updated",' + W
D = 'dependency="postgres",' + W
OUT = 'outbox="catalog",stream="ANIME_SYNC",' + W
A = 'job="echora",worker="adapter",instance="a"'
API = 'job="echora",worker="command-api",instance="a"'
ONE_API = {"worker": "command-api", "instance": "a"}
IN_FLIGHT, KEYS_AGE = f"echora_command_in_flight{{{API}}}", f"echora_jwks_age_seconds{{{API}}}"
ROUTE = f'dependency="adapter-risk",{A}'
ROUTE_OPENED, ROUTE_OPEN = f"echora_breaker_opened_timestamp_seconds{{{ROUTE}}}", f"echora_breaker_open{{{ROUTE}}}"
ROUTE_DISABLED, ROUTE_OLDEST = (f'echora_webhook_{m}{{route="risk",{A}}}'
                                for m in ("route_disabled", "oldest_timestamp_seconds"))
ROUTE_LIMIT = f'echora_webhook_time_limit_seconds{{route="risk",{A}}}'
UNRECORDED = f'echora_webhook_unrecorded_total{{route="risk",{A}}}'
ADAPTED = f'stream="ANIME_EVENTS",consumer="adapter-risk",{A}'
REVIEWS = f"echora_catalogue_%s{{{W.replace('relay', 'catalogue')}}}"
REVIEW_OLDEST, REVIEW_EXPIRE, REVIEWS_PENDING = (
    REVIEWS % m for m in ("review_oldest_seconds", "review_expire_seconds", "reviews_pending"))
DAY = 86400
MIB = 1024 * 1024
UPS = {f'up{{job="echora",worker="{w}"}}': "1x2000" for w in ("catalogue", "relay", "qdrant-sync", "dead-letters")}
OPENED, OPEN = f"echora_breaker_opened_timestamp_seconds{{{D}}}", f"echora_breaker_open{{{D}}}"
OLDEST = 'echora_dead_letters_oldest_timestamp_seconds{job="echora"}'
ACTIVE, OTHER = f'echora_relay_active{{outbox="catalog",{W}}}', 'echora_relay_active{outbox="catalog",instance="b"}'
PENDING, HAND, PAUSED = (f"echora_consumer_{m}{{{C}}}" for m in ("pending", "in_hand", "paused"))
DONE, HELD = (f'echora_messages_processed_total{{outcome="{o}",{C}}}' for o in ("done", "held"))


def letters(kind, code, values):
    return {f'echora_dead_letters_open{{class="{kind}",code="{code}",job="echora"}}': values}


def drift(kind, values):
    return {f'echora_repair_drift_total{{drift="{kind}",{Q}}}': values}


def age(seconds):
    """Each minute ten events of that age."""
    return {f"echora_message_age_seconds_{s}{{{C}}}": f"0+{n}x60" for s, n in (("sum", 10 * seconds), ("count", 10))}


def calls(kind, values):
    return {f'echora_webhook_attempts_total{{route="risk",class="{kind}",{A}}}': values}


def call_seconds(within_10, within_15):
    """Each minute so many calls of these lengths, of a route whose limit is 15 s."""
    return {f'echora_webhook_seconds_bucket{{route="risk",le="{le}",{A}}}': f"0+{n}x60"
            for le, n in (("10", within_10), ("15", within_15), ("+Inf", within_15))}


def answers(status, values):
    return {f'echora_command_calls_total{{call="dlq-list",status="{status}",{API}}}': values}


def waits(call, within_1, within_5):
    """Each minute so many of a call's answers within these seconds."""
    return {f'echora_command_duration_seconds_{m}{API}}}': f"0+{n}x60" for m, n in (
        (f'bucket{{call="{call}",le="1",', within_1), (f'bucket{{call="{call}",le="5",', within_5),
        (f'bucket{{call="{call}",le="+Inf",', within_5), (f'count{{call="{call}",', within_5))}


def refusals(code, values):
    return {f'echora_command_refusals_total{{code="{code}",{API}}}': values}


def tokens(outcome, values):
    return {f'echora_tokens_total{{outcome="{outcome}",{API}}}': values}


def outcomes(outcome, values, labels=ADAPTED):
    return {f'echora_messages_processed_total{{outcome="{outcome}",{labels}}}': values}


def reviews(outcome, values, metric="reviews_total"):
    return {f'echora_catalogue_{metric}{{outcome="{outcome}",job="echora"}}': values}


# alert: (when, bad series, labels that it must have, good series …); one value a minute.
CASES = {
    "EchoraWorkerAbsent": (5, {f"up{{{W}}}": "1 0x9"}, {"worker": "relay", "instance": "a"},
                           {f"up{{{W}}}": "1x10"}, {f"up{{{W}}}": "1 1 1 0 0 1x9"}),
    "EchoraWorkerUnknown": (10, {k: v for k, v in UPS.items() if "relay" not in k}, {"worker": "relay"}, UPS),
    "EchoraWorkerNotReady": (10, {f"echora_ready{{{W}}}": "1 1 0x20"}, {"worker": "relay", "instance": "a"},
                             {f"echora_ready{{{W}}}": "1 0 0 0 0 1x9"}),
    "EchoraDependencyAway": (4, {OPEN: "0 1x9", OPENED: "0 60x9"}, {"worker": "relay", "dependency": "postgres"},
                             {OPEN: "0x9", OPENED: "0x9"}, {OPEN: "0 0 0 0 1", OPENED: "0 0 0 0 235"},
                             {ROUTE_OPEN: "0 1x9", ROUTE_OPENED: "0 60x9"}),
    "EchoraDependencyAwayLong": (20, {OPEN: "0 1x30", OPENED: "0 60x30"}, {"worker": "relay", "dependency": "postgres"},
                                 {OPEN: "0x30", OPENED: "0x30"}, {OPEN: "0x11 1x20", OPENED: "0x11 660x20"},
                                 {ROUTE_OPEN: "0 1x30", ROUTE_OPENED: "0 60x30"}),
    "EchoraDependencyFlaps": (40, {f'echora_breaker_trips_total{{code="pg-connection",{D}}}': "0+1x40"},
                              {"worker": "relay", "dependency": "postgres"},
                              {f'echora_breaker_trips_total{{code="pg-connection",{D}}}': "0x35 1 2 3 3 3"},
                              {f'echora_breaker_trips_total{{code="http-503",{ROUTE}}}': "0+1x40"}),
    "EchoraWorkerRestarts": (10, {f"process_start_time_seconds{{{W}}}": "0 0 100 200 300 300x5"},
                             {"worker": "relay", "instance": "a"},
                             {f"process_start_time_seconds{{{W}}}": "0 0 100 200 200x6"}),
    "EchoraWorkerMemory": (15, {f"process_resident_memory_bytes{{{W}}}": f"{410 * MIB}x20"},
                           {"worker": "relay", "instance": "a"},
                           {f"process_resident_memory_bytes{{{W}}}": f"{390 * MIB}x20"}),
    "EchoraFileDescriptors": (15, {f"process_open_fds{{{W}}}": "900x20", f"process_max_fds{{{W}}}": "1024x20"},
                              {"worker": "relay", "instance": "a"},
                              {f"process_open_fds{{{W}}}": "60x20", f"process_max_fds{{{W}}}": "1024x20"}),
    "EchoraConsumerLag": (20, {PENDING: "20000x30", PAUSED: "0x30"}, {"consumer": "catalog-updated"},
                          {PENDING: "20000x30", PAUSED: "1x30"}, {PENDING: "9000x30"}, {PENDING: "20000x9 0x30"}),
    "EchoraEventsOld": (25, age(400), {"consumer": "catalog-updated"}, age(200),
                        {f"echora_message_age_seconds_{s}{{{ADAPTED}}}": f"0+{n}x60" for s, n in (("sum", 9000), ("count", 1))}),
    "EchoraEventsStuck": (30, {PENDING: "0x30", HAND: "1x30", DONE: "5x30", HELD: "0+1x30", PAUSED: "0x30"},
                          {"stream": "ANIME_EVENTS", "consumer": "catalog-updated"},
                          {PENDING: "0x30", HAND: "0x30", DONE: "5x30", PAUSED: "0x30"},
                          {PENDING: "9x30", HAND: "1x30", DONE: "0+1x30", PAUSED: "0x30"},
                          {PENDING: "9x30", HAND: "0x30", DONE: "5x30", PAUSED: "1x30"},
                          {f"echora_consumer_pending{{{ADAPTED}}}": "0x30", f"echora_consumer_in_hand{{{ADAPTED}}}": "1x30",
                           **outcomes("done", "5x30")}),
    "EchoraRedeliveries": (25, {f"echora_messages_redelivered_total{{{C}}}": "0+30x30", DONE: "0+100x30"},
                           {"consumer": "catalog-updated"},
                           {f"echora_messages_redelivered_total{{{C}}}": "0+10x30", DONE: "0+100x30"},
                           {f"echora_messages_redelivered_total{{{C}}}": "0+1x30", DONE: "0+2x30"},
                           {f"echora_messages_redelivered_total{{{ADAPTED}}}": "0+30x30", **outcomes("retry", "0+30x30")}),
    "EchoraConsumerInHand": (15, {HAND: "4000x20", f"echora_consumer_in_hand_limit{{{C}}}": "4096x20"},
                             {"consumer": "catalog-updated"},
                             {HAND: "3000x20", f"echora_consumer_in_hand_limit{{{C}}}": "4096x20"}),
    "EchoraConsumerPausedLong": (26, {PAUSED: "0 1x30"}, {"consumer": "catalog-updated"},
                                 {PAUSED: "0 1x22 0x9"}),
    "EchoraPoisonStorm": (15, {f'echora_messages_processed_total{{outcome="reject",{C}}}': "0+1200x20"},
                          {"consumer": "catalog-updated"},
                          {f'echora_messages_processed_total{{outcome="reject",{C}}}': "0+300x20", DONE: "0+9000x20"}),
    "EchoraDeadLettersRefused": (10, {f"echora_dlq_publish_failures_total{{{C}}}": "0 0 0 1 5 9 20x20"},
                                 {"consumer": "catalog-updated"},
                                 {f"echora_dlq_publish_failures_total{{{C}}}": "7x30"}),
    "EchoraDeadLettersGrow": (40, letters("reject", "bad-uuid", "_x30 1x30"), {"class": "reject", "code": "bad-uuid"},
                              letters("reject", "bad-uuid", "7x60"), letters("reject", "bad-uuid", "7x20 _x16 7x60"),
                              letters("reject", "bad-uuid", "7x30 3x60")),
    "EchoraDeadLettersGrowFast": (40, letters("reject", "bad-uuid", "5x30 300x30"),
                                  {"class": "reject", "code": "bad-uuid"},
                                  letters("reject", "bad-uuid", "5x30 50x30")),
    "EchoraCrashLetters": (5, letters("crash", "crash", "0 1x9"), {},
                           letters("reject", "bad-uuid", "9x9"), letters("crash", "crash", "2 0x9")),
    "EchoraDeadLetterOld": (8, {OLDEST: "600x9"}, {}, {OLDEST: "0x9"}, {OLDEST: f"{5 * 86400}x9"}),
    "EchoraDeadLetterExpires": (26, {OLDEST: "600x30"}, {}, {OLDEST: "0x30"}, {OLDEST: f"{9 * 86400}x30"}),
    "EchoraReplayStoppedByCanary": (5, {'echora_replay_plans{state="canary",job="echora"}': "0 1x9"}, {},
                                    {'echora_replay_plans{state="canary",job="echora"}': "0x9",
                                     'echora_replay_plans{state="running",job="echora"}': "1x9"}),
    "EchoraRelayWithoutLeader": (5, {ACTIVE: "1 0x9", OTHER: "0x9"}, {}, {ACTIVE: "1 0x9", OTHER: "0 1x9"}),
    "EchoraRelayTwoLeaders": (5, {ACTIVE: "1x9", OTHER: "0 1x9"}, {"outbox": "catalog"},
                              {ACTIVE: "1 1 0x9", OTHER: "0 1 1x9"}),
    "EchoraOutboxLagSeconds": (10, {ACTIVE: "1x20", f"echora_relay_lag_seconds{{{OUT}}}": "0 100x20"},
                               {"outbox": "catalog", "stream": "ANIME_SYNC"},
                               {ACTIVE: "0x20", f"echora_relay_lag_seconds{{{OUT}}}": "0 100x20"},
                               {ACTIVE: "1x20", f"echora_relay_lag_seconds{{{OUT}}}": "0 30x20",
                                f"echora_outbox_waiting_seconds{{{OUT}}}": "0 30x20"}),
    "EchoraOutboxLagRows": (20, {ACTIVE: "1x30", f"echora_relay_lag_rows{{{OUT}}}": "100x30",
                                 f"echora_outbox_waiting_rows{{{OUT}}}": "20000x30"},
                            {"outbox": "catalog", "stream": "ANIME_SYNC"},
                            {ACTIVE: "1x30", f"echora_relay_lag_rows{{{OUT}}}": "100x30",
                             f"echora_outbox_waiting_rows{{{OUT}}}": "500x30"}),
    "EchoraStreamFills": (15, {'echora_stream_full_ratio{stream="ANIME_DLQ"}': "0.85x20"}, {"stream": "ANIME_DLQ"},
                          {'echora_stream_full_ratio{stream="ANIME_DLQ"}': "0.75x20"},
                          {'echora_stream_full_ratio{stream="ANIME_ADVISORY"}': "1x20"}),
    "EchoraStreamFull": (5, {'echora_stream_full_ratio{stream="ANIME_DLQ"}': "0.99x20"}, {"stream": "ANIME_DLQ"},
                         {'echora_stream_full_ratio{stream="ANIME_DLQ"}': "0.9x20"},
                         {'echora_stream_full_ratio{stream="WORKER_SUSPECTS"}': "1x20"}),
    "EchoraCommandApiGone": (20, {f"up{{{API}}}": "1x5 _x30"}, {"worker": "command-api"}, {f"up{{{API}}}": "1x5 0x30"}, UPS),
    "EchoraCommandApiWithoutRedis": (6, {f'echora_breaker_open{{dependency="redis",{API}}}': "0 1x20"}, ONE_API,
                                     {f'echora_breaker_open{{dependency="redis",{API}}}': "0 1x1 0x20"},
                                     {f'echora_breaker_open{{dependency="nats",{API}}}': "1x20"}),
    "EchoraCommandApiFails": (25, {**answers("5xx", "0+2x40"), **answers("2xx", "0+10x40")}, {"call": "dlq-list"},
                              {**answers("5xx", "0+2x40"), **answers("2xx", "0+30x40")}, answers("5xx", "0x20 4x20"),
                              answers("4xx", "0+9x40")),
    "EchoraCommandApiSlow": (40, waits("dlq-list", 0, 60), {"call": "dlq-list"}, waits("dlq-list", 60, 60),
                             waits("reconcile", 0, 60), waits("dlq-list", 0, 3)),
    "EchoraCommandAuditRefused": (10, {f"echora_command_audit_failures_total{{{API}}}": "0 0 0 1x20"}, ONE_API,
                                  {f"echora_command_audit_failures_total{{{API}}}": "7x20"}),
    "EchoraCommandApiBusy": (20, {IN_FLIGHT: "60x30"}, ONE_API, {IN_FLIGHT: "64x3 0x30"}, {IN_FLIGHT: "40x30"}),
    "EchoraCallersRateLimited": (40, refusals("rate_limited", "0+60x60"), {}, refusals("rate_limited", "0+20x60"),
                                 refusals("rate_limited", "0+60x8 480x50"), refusals("validation_error", "0+60x60")),
    "EchoraBadTokens": (30, tokens("signature", "0+60x60"), {"outcome": "signature"}, tokens("signature", "0+20x60"),
                        tokens("ok", "0+600x60"), tokens("keys-away", "0+60x60")),
    "EchoraIssuerKeysAbsent": (5, {KEYS_AGE: "-1x20"}, ONE_API, {KEYS_AGE: "-1 0+60x20"}, {KEYS_AGE: "7200x20"}),
    "EchoraIssuerKeysOld": (70, {KEYS_AGE: "0+60x80"}, ONE_API, {KEYS_AGE: "0 60 600x80"}, {KEYS_AGE: "-1x80"}),
    "EchoraDriftFound": (60, drift("missing", "0x30 500x60"), {"drift": "missing"},
                         drift("missing", "0x30 9x60"), drift("pending", "0x30 500x60")),
    "EchoraVectorsOwed": (45, {f"echora_qdrant_vectors_owed{{{Q}}}": "0 1x60"}, {},
                          {f"echora_qdrant_vectors_owed{{{Q}}}": "0 1x20 0x60"}),
    "EchoraAdapterGone": (20, {f"up{{{A}}}": "1x5 _x30"}, {"worker": "adapter"}, {f"up{{{A}}}": "1x5 0x30"}, UPS),
    "EchoraWebhookRouteRests": (20, {ROUTE_OPEN: "0 1x30", ROUTE_OPENED: "0 60x30"}, {"dependency": "adapter-risk"},
                                {ROUTE_OPEN: "0 1x5 0x30", ROUTE_OPENED: "0 60x5 0x30"},
                                {ROUTE_OPEN: "0x11 1x20", ROUTE_OPENED: "0x11 660x20"},
                                {ROUTE_OPEN: "0 1x30", ROUTE_OPENED: "0 60x30", ROUTE_DISABLED: "0 1x30"},
                                {OPEN: "0 1x30", OPENED: "0 60x30"}),
    "EchoraWebhookSecretRefused": (10, calls("auth", "0 0 0 1x20"), {"route": "risk"}, calls("auth", "3x20"),
                                   calls("trouble", "0+5x20")),
    "EchoraWebhookRouteDisabled": (5, {ROUTE_DISABLED: "0 1x9"}, {"route": "risk"}, {ROUTE_DISABLED: "1 0x9"}),
    "EchoraWebhooksParked": (60, outcomes("reject", "0x20 1x60"), {"consumer": "adapter-risk"}, outcomes("reject", "4x60"),
                             {**outcomes("done", "0+1x60"), **outcomes("retry", "0+1x60")},
                             outcomes("reject", "0x20 1x60", C)),
    "EchoraWebhooksStandStill": (45, {ROUTE_OLDEST: "0 60x60", **calls("delivered", "5x60")}, {"route": "risk"},
                                 {ROUTE_OLDEST: "0x60", **calls("delivered", "5x60")},
                                 {ROUTE_OLDEST: "0 60x60", **calls("delivered", "0+1x60")},
                                 {ROUTE_OLDEST: "0+60x60", **calls("delivered", "5x60")},
                                 {ROUTE_OLDEST: "0 60x60", **calls("delivered", "5x60"),
                                  f"echora_consumer_paused{{{ADAPTED}}}": "1x60"}),
    "EchoraWebhookExpires": (130, {ROUTE_OLDEST: "60x140"}, {"route": "risk"}, {ROUTE_OLDEST: "0x140"},
                             {ROUTE_OLDEST: f"{DAY}x140"}),
    "EchoraWebhooksSlow": (50, {**call_seconds(1, 10), ROUTE_LIMIT: "15x60"}, {"route": "risk"},
                           {**call_seconds(10, 10), ROUTE_LIMIT: "15x60"}, {**call_seconds(1, 10), ROUTE_LIMIT: "45x60"}),
    "EchoraWebhooksUnrecorded": (30, {UNRECORDED: "0 0 2 3 4 5x60"}, {"route": "risk"}, {UNRECORDED: "9x60"},
                                 {UNRECORDED: "0 0 2x60"}),
    "EchoraReviewsOld": (8, {REVIEW_OLDEST: f"0+{DAY}x9"}, {}, {REVIEW_OLDEST: f"{6 * DAY}x9"}),
    "EchoraReviewExpires": (5, {REVIEW_OLDEST: f"{28 * DAY}x9", REVIEW_EXPIRE: f"{30 * DAY}x9"}, {},
                            {REVIEW_OLDEST: f"{20 * DAY}x9", REVIEW_EXPIRE: f"{30 * DAY}x9"},
                            {REVIEW_OLDEST: f"{28 * DAY}x9", REVIEW_EXPIRE: f"{60 * DAY}x9"}),
    "EchoraReviewsExpired": (60, reviews("expired", "0x20 1x60"), {}, reviews("expired", "4x60"), reviews("approved", "0+1x60")),
    "EchoraReviewsMany": (90, {REVIEWS_PENDING: "150x99"}, {}, {REVIEWS_PENDING: "90x99"}, {REVIEWS_PENDING: "150x30 20x70"}),
    "EchoraReviewChoresFail": (30, reviews("expired", "0+4x40", "review_failures_total"), {"outcome": "expired"},
                               reviews("expired", "9x40", "review_failures_total"),
                               reviews("expired", "0x10 2x40", "review_failures_total")),
}
# Steps other than a minute.
STEPS = {"EchoraConsumerPausedLong": "1h", "EchoraDeadLetterOld": "1d", "EchoraDeadLetterExpires": "1d",
         "EchoraWebhookExpires": "1h", "EchoraReviewsOld": "1d"}
# A second bad series where a rule has two arms.
ARMS = {
    "EchoraRelayWithoutLeader": (5, {f"up{{{W}}}": "1x9"}, {}),
    "EchoraOutboxLagSeconds": (10, {ACTIVE: "1x20", f"echora_outbox_waiting_seconds{{{OUT}}}": "0 100x20"},
                               {"outbox": "catalog", "stream": "ANIME_SYNC"}),
    "EchoraEventsStuck": (30, {PENDING: "9x30", HAND: "0x30", DONE: "5x30"},
                          {"stream": "ANIME_EVENTS", "consumer": "catalog-updated"}),
    "EchoraDeadLettersGrow": (40, letters("reject", "bad-uuid", "1x30 2x30"), {"class": "reject", "code": "bad-uuid"}),
    "EchoraWebhooksParked": (60, outcomes("retry-exhausted", "0x20 1x60"), {"consumer": "adapter-risk"}),
}


def step(name):
    return STEPS.get(name, "1m")


def case(name, at, series, labels):
    """A test of promtool: the alert fires once with these labels, or (None) not at all."""
    grouped = f" by ({','.join(labels)})" if labels else ""
    shown = "{" + ",".join(f'{k}="{v}"' for k, v in (labels or {}).items()) + "}"
    return {"interval": step(name), "input_series": [{"series": s, "values": v} for s, v in series.items()],
            "promql_expr_test": [{"expr": f'count{grouped} (ALERTS{{alertname="{name}",alertstate="firing"}})',
                                  "eval_time": f"{at}{step(name)[1]}",
                                  "exp_samples": [] if labels is None else [{"labels": shown, "value": 1}]}]}


def run(tmp_path, rule, *tests, every="1m"):
    """promtool's tests of a rule alone, for the whole file takes as much time for each of its rules."""
    (tmp_path / "rules.yml").write_text(rule)
    file = tmp_path / "test.yml"  # JSON is YAML
    file.write_text(json.dumps({"rule_files": ["rules.yml"], "evaluation_interval": every, "tests": tests}))
    return promtool("test", "rules", file)


def test_promtool_takes_rules_and_example():
    for what, file in (("rules", RULES), ("config", ROOT / "ops/prometheus/prometheus.yml")):
        good, said = promtool("check", what, file)
        assert good and "SUCCESS" in said, said


def test_every_worker_of_the_fleet_is_scraped():
    """With the port that it usually has, and missed when no target has its name; the edges where there were any."""
    example = (ROOT / "ops/prometheus/prometheus.yml").read_text()
    scraped = re.findall(r"- targets: \['127.0.0.1:(\d+)'\].*\n +labels: \{worker: ([a-z-]+)\}", example)
    assert {worker: int(port) for port, worker in scraped} == {worker: PORTS[worker] for worker in WORKERS}
    missed = set(re.findall(r'worker="([a-z-]+)"', field(alerts()["EchoraWorkerUnknown"], "expr")))
    assert missed == set(WORKERS) - {"adapter", "command-api"}


def test_each_alert_has_its_cases():
    assert list(alerts()) == list(CASES) and set(ARMS) <= set(CASES)
    assert all(len(c) > 3 for c in CASES.values())


@pytest.mark.parametrize("name", CASES)
def test_it_fires_and_keeps_silent(name, tmp_path):
    at, bad, labels, *good = CASES[name]
    tests = [case(name, at, bad, labels), *(case(name, at, series, None) for series in good)]
    if name in ARMS:
        tests.append(case(name, *ARMS[name]))
    content, said = run(tmp_path, rule_alone(name), *tests, every=step(name))
    assert content, said


@pytest.mark.parametrize("name", CASES)
def test_it_says_what_to_do(name):
    """Severity, words and a runbook page that is there; the words use only labels that the alert has."""
    rule = alerts()[name]
    assert re.search(r"severity: (critical|warning)}", rule)
    page, _, section = field(rule, "runbook").partition("#")
    headings = re.findall(r"^#+ (.*)", (ROOT / page).read_text(), re.M)
    assert not section or section in [re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings]
    words = field(rule, "summary") + field(rule, "description")
    assert len(field(rule, "summary")) < 120 and len(field(rule, "description")) > 60
    _, _, labels, *_ = CASES[name]
    assert set(re.findall(r"\$labels\.(\w+)", words)) <= set(labels) | ({"instance"} if "worker" in labels else set())
    assert unknown(field(rule, "expr"), reference()) == []


def test_a_wrong_rule_is_seen(tmp_path):
    """The checks turn red: a threshold out of reach, a metric that is not there, no PromQL."""
    text = RULES.read_text()
    at, bad, labels, *_ = CASES["EchoraStreamFull"]
    test = case("EchoraStreamFull", at, bad, labels)
    assert run(tmp_path, rule_alone("EchoraStreamFull", text), test)[0]
    assert not run(tmp_path, rule_alone("EchoraStreamFull", text.replace("> 0.95", "> 95")), test)[0]
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(text.replace("changes(process", "changed(process"))
    assert not promtool("check", "rules", wrong)[0]
    assert unknown('sum by (outbox) (echora_relay_aktive{worker="relay"})', reference()) == \
        ["no metric echora_relay_aktive", 'no label outbox in sum by (outbox) (echora_relay_aktive{worker="relay"})']
    assert unknown('echora_relay_active{stream="x"}', reference()) == ["echora_relay_active has no label stream"]
