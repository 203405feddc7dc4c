"""Who may publish and subscribe to what: the users of the NATS configuration, subject by subject.

NATS wildcards are whole tokens, so subjects are listed. A user is a row of USERS:
  publish    events and requests it sends
  serves     requests and hints it receives
  consumers  (stream, durable) it pulls from: MSG.NEXT, consumer INFO, acks; marks of their events in WORKER_SUSPECTS;
             with them goes the right to read which consumers people have paused
  info       streams whose state it may ask for
  get        streams it may read single messages from
  api        JetStream API subjects beyond these
  people     a person or somebody else's program: may use the ordinary inbox `_INBOX.>`
Every user has an inbox of its own, `_INBOX_<user>.>`, which nobody else may read; workers and `echora` use nothing
else. `_INBOX.>` is there because clients of any language use it unasked: who may read it can read the answers to all
who use it (acknowledgements, answers to requests), though forge none. For answers that others must not see use
`nats --inbox-prefix _INBOX_<user>`. People who share a user share its inbox: give each a user of their own where that
matters. `serves` of a request
needs the right to answer, given as the inboxes of all users: allow_responses would remember every
delivered event of the same user and walk that list at each delivery.
"""

ANIME_EVENTS = ("anime.enriched", "anime.updated", "anime.episode.aired", "character.updated",
                "episode.updated")
ANIME_SYNC = ("anime.created", "anime.synced", "anime.deleted", "character.synced", "episode.synced")
CATALOG_DURABLES = ("catalog-enriched", "catalog-updated", "catalog-episode-aired",
                    "catalog-character-updated", "catalog-episode-updated")
QDRANT_DURABLES = ("qdrant-anime-created", "qdrant-anime-synced", "qdrant-anime-deleted",
                   "qdrant-character-synced", "qdrant-episode-synced")
CATALOG_READ = ("catalog.record.get", "catalog.anime.get", "catalog.character.get",
                "catalog.episode.get")
REVIEW_READ = ("catalog.review.list", "catalog.review.get")
COMMANDS = tuple(f"command.{call}" for call in (
    "check-tag", "start-incremental-run", "build-diff", "process-stages", "build-stage6-review", "submit-stage6-decisions",
    "preview-stage6-batch", "replay-stage", "ingest-approved", "finalize-run", "run-get", "run-entries", "artifact-get"))
STREAMS = ("ANIME_EVENTS", "ANIME_SYNC", "ANIME_DLQ", "ANIME_ADVISORY", "WORKER_SUSPECTS", "WORKER_REPLIES",
           "INGESTION_EVENTS", "NOTIFICATION_EVENTS", "AUDIT")
CONTROL = "KV_echora_control"  # the key-value bucket of paused consumers


def dead_letters(durables, parked_only=False):
    parked = [f"anime.dlq.parked.{d}" for d in durables]
    return parked if parked_only else [f"anime.dlq.{d}" for d in durables] + parked


STATE = ("$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.STREAM.INFO.*",
         "$JS.API.CONSUMER.NAMES.*", "$JS.API.CONSUMER.LIST.*", "$JS.API.CONSUMER.INFO.*.*")
MANAGE = ("$JS.API.STREAM.CREATE.*", "$JS.API.STREAM.UPDATE.*", "$JS.API.STREAM.DELETE.*",
          "$JS.API.STREAM.PURGE.*", "$JS.API.CONSUMER.CREATE.>",
          "$JS.API.CONSUMER.DURABLE.CREATE.*.*", "$JS.API.CONSUMER.DELETE.*.*")

VIEWER = ("dlq.list", "dlq.show", "dlq.status", "contracts.validate", *CATALOG_READ, *REVIEW_READ)
OPERATOR = (*VIEWER, "dlq.replay", "dlq.discard", "webhook.test", "webhook.replay", "webhook.enable",
            "catalog.anime.delete", "catalog.anime.restore", "catalog.review.decide", "catalog.reconcile", "catalog.revisions.list",
            *ANIME_EVENTS, "$KV.echora_control.paused.*")

USERS = {
    "ingestion": {"publish": ("anime.enriched", "ingestion.review.ready"), "people": True},
    "update": {"publish": ANIME_EVENTS[1:], "people": True},
    "catalogue": {
        "publish": (*dead_letters(CATALOG_DURABLES), "hint.outbox"),
        "serves": (*CATALOG_READ, *REVIEW_READ, "catalog.review.decide", "catalog.anime.delete", "catalog.anime.restore",
                   "catalog.outbox.enqueue", "catalog.revisions.list", "catalog.xref.resolve",
                   "contracts.validate"),
        "consumers": [("ANIME_EVENTS", d) for d in CATALOG_DURABLES],
        "info": ("ANIME_EVENTS", "ANIME_DLQ"),
    },
    "relay": {
        # Its own inbox: a message to itself tells how the client library writes headers.
        "publish": (*ANIME_SYNC, "anime.updated", "notification.>", "audit.catalog",
                    "_INBOX_relay.>"),
        "serves": ("hint.outbox",),
        "info": ("ANIME_SYNC", "ANIME_EVENTS", "NOTIFICATION_EVENTS", "AUDIT"),
        "get": ("ANIME_SYNC", "ANIME_EVENTS", "NOTIFICATION_EVENTS", "AUDIT"),
    },
    "qdrant": {
        "publish": (*dead_letters(QDRANT_DURABLES), *CATALOG_READ, "catalog.revisions.list",
                    "catalog.outbox.enqueue", "$KV.echora_control.repair.>", "kept.catalog.reconcile.*",
                    "$JS.API.DIRECT.GET.WORKER_REPLIES.kept.catalog.reconcile.*"),
        "serves": ("catalog.reconcile",),
        "consumers": [("ANIME_SYNC", d) for d in QDRANT_DURABLES],
        "info": ("ANIME_SYNC", "ANIME_DLQ"),
    },
    "adapter": {
        "publish": dead_letters(("adapter-risk", "adapter-review", "adapter-dlq"), parked_only=True),
        "consumers": [("ANIME_EVENTS", "adapter-risk"), ("INGESTION_EVENTS", "adapter-review"),
                      ("ANIME_DLQ", "adapter-dlq")],
        "serves": ("webhook.test", "webhook.replay", "webhook.enable"),
        "info": ("ANIME_EVENTS", "INGESTION_EVENTS", "ANIME_DLQ"),
        "get": ("ANIME_EVENTS", "INGESTION_EVENTS", "ANIME_DLQ"),
    },
    "deadletters": {
        "publish": ("anime.dlq.>", *ANIME_EVENTS, "ingestion.review.ready", "audit.dlq",
                    "catalog.outbox.enqueue", "$JS.API.STREAM.MSG.DELETE.ANIME_DLQ"),
        "serves": ("dlq.list", "dlq.show", "dlq.status", "dlq.replay", "dlq.discard"),
        "consumers": [("ANIME_DLQ", "dlq-index"), ("AUDIT", "dlq-audit"), ("ANIME_ADVISORY", "dlq-sweeper")],
        "get": STREAMS,
        "api": STATE,
    },
    # Whoever answers the calls of a run: ingestion's own workers, once they are there.
    "workflow": {"serves": COMMANDS},
    # Requests of callers with a token, and who asked for what; nothing else.
    "command": {
        "publish": (*COMMANDS, "catalog.review.get", "catalog.review.decide", "catalog.reconcile", "dlq.list", "dlq.show",
                    "dlq.replay", "dlq.discard", "audit.command"),
    },
    "viewer": {"publish": VIEWER, "get": ("ANIME_DLQ", CONTROL), "api": STATE, "people": True},
    "operator": {"publish": OPERATOR, "get": (*STREAMS, CONTROL), "api": STATE, "people": True},
    "publisher": {"publish": (*ANIME_EVENTS, "contracts.validate"), "people": True},
    # A dead letter may be removed with plain tools; nothing else may be, for the relay counts what it published.
    "admin": {"publish": OPERATOR, "get": (*STREAMS, CONTROL), "people": True,
              "api": (*STATE, *MANAGE, "$JS.API.STREAM.MSG.DELETE.ANIME_DLQ")},
}


def inbox(user):
    return f"_INBOX_{user}"


def permissions(user):
    """(publish, subscribe): what the server allows this user, as lists of subjects."""
    row = USERS[user]
    publish = list(row.get("publish", ()))
    subscribe = [f"{inbox(user)}.>"]
    if row.get("people"):
        subscribe.append("_INBOX.>")
    served = list(row.get("serves", ()))
    subscribe += served
    if any(not s.startswith("hint.") for s in served):
        publish += ["_INBOX.>"] + [f"{inbox(u)}.>" for u in USERS]
    if row.get("consumers") or row.get("info"):
        publish.append("$JS.API.INFO")
    if row.get("consumers"):
        publish += [f"$JS.API.STREAM.INFO.{CONTROL}", f"$JS.API.STREAM.MSG.GET.{CONTROL}"]
    publish += [f"$JS.API.STREAM.INFO.{s}" for s in row.get("info", ())]
    for stream, durable in row.get("consumers", ()):
        publish += [f"$JS.API.CONSUMER.INFO.{stream}.{durable}",
                    f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}",
                    # The ack subject of today's servers, and the one that carries domain and account.
                    f"$JS.ACK.{stream}.{durable}.>", f"$JS.ACK.*.*.{stream}.{durable}.>",
                    f"suspect.{durable}.*", f"$JS.API.DIRECT.GET.WORKER_SUSPECTS.suspect.{durable}.*"]
    for stream in row.get("get", ()):
        publish += [f"$JS.API.STREAM.MSG.GET.{stream}", f"$JS.API.DIRECT.GET.{stream}",
                    f"$JS.API.DIRECT.GET.{stream}.>"]
    publish += row.get("api", ())
    return publish, subscribe


def quote(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def config(port, store, passwords, monitor_port=0, max_file="20GB", max_memory="512MB",
           server_name="echora-1", host="127.0.0.1"):
    """A whole nats-server configuration file, for 2.9 and for today's servers alike.

    passwords: user → password; the text belongs into a 0600 file.
    """
    lines = [
        "# Written by ops/nats/users.py; holds passwords.",
        f"server_name: {server_name}",
        f'listen: "{host}:{port}"',
        "max_payload: 8388608",
        "max_pending: 268435456",
        "write_deadline: \"10s\"",
        "ping_interval: \"20s\"",
        "lame_duck_duration: \"30s\"",
        "lame_duck_grace_period: \"2s\"",
        f"jetstream {{ store_dir: {quote(str(store))}, max_file_store: {max_file}, "
        f"max_memory_store: {max_memory} }}",
    ]
    if monitor_port:
        lines.append(f'http: "127.0.0.1:{monitor_port}"')
    lines.append("authorization {\n  timeout: 5\n  users = [")
    for user in USERS:
        publish, subscribe = permissions(user)
        lines.append(f"    {{ user: {user}, password: {quote(passwords[user])}, permissions: {{")
        for name, subjects in (("publish", publish), ("subscribe", subscribe)):
            lines.append(f"        {name}: {{ allow: [")
            lines += [f"            {quote(s)}" for s in subjects]
            lines.append("        ] }")
        lines.append("    } }")
    lines.append("  ]\n}")
    return "\n".join(lines) + "\n"
