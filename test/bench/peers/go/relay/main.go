// The relay that a careful Go user would write: one connection claims rows in order with FOR UPDATE SKIP LOCKED,
// publishes them asynchronously with Nats-Msg-Id, waits for every acknowledgement, deletes them and commits.
//
// Configuration: pgx 5 with its prepared statements and binary results; at most BATCH rows a transaction (default 500),
// all of them in flight. When there is nothing it looks again after
// POLL (default 5ms), or at once when a message comes on HINT_SUBJECT, if that is set. Order holds as long as one runs.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
)

const (
	claim = "SELECT id, subject, event_id::text, payload FROM bench_outbox ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED"
	drop  = "DELETE FROM bench_outbox WHERE id = ANY($1)"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// publishBatch handles one transaction and returns its number of rows.
func publishBatch(ctx context.Context, conn *pgx.Conn, js nats.JetStreamContext, batch int) (int, error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback(ctx)
	rows, err := tx.Query(ctx, claim, batch)
	if err != nil {
		return 0, err
	}
	ids := make([]int64, 0, batch)
	acks := make([]nats.PubAckFuture, 0, batch)
	for rows.Next() {
		var id int64
		var subject, event string
		var payload []byte
		if err := rows.Scan(&id, &subject, &event, &payload); err != nil {
			return 0, err
		}
		msg := &nats.Msg{Subject: subject, Data: payload, Header: nats.Header{"Nats-Msg-Id": {event}}}
		ack, err := js.PublishMsgAsync(msg)
		if err != nil {
			return 0, err
		}
		ids, acks = append(ids, id), append(acks, ack)
	}
	if err := rows.Err(); err != nil || len(ids) == 0 {
		return 0, err
	}
	for _, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			return 0, err
		}
	}
	if _, err := tx.Exec(ctx, drop, ids); err != nil {
		return 0, err
	}
	return len(ids), tx.Commit(ctx)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	batch, err := strconv.Atoi(setting("BATCH", "500"))
	must(err)
	poll, err := time.ParseDuration(setting("POLL", "5ms"))
	must(err)
	conn, err := pgx.Connect(ctx, os.Getenv("PG_URL"))
	must(err)
	nc, err := nats.Connect(os.Getenv("NATS_URL"))
	must(err)
	js, err := nc.JetStream(nats.PublishAsyncMaxPending(4 * batch))
	must(err)
	hints := make(chan *nats.Msg, 1024)
	if subject := os.Getenv("HINT_SUBJECT"); subject != "" {
		_, err := nc.ChanSubscribe(subject, hints)
		must(err)
	}
	for ctx.Err() == nil {
		n, err := publishBatch(ctx, conn, js, batch)
		if ctx.Err() != nil {
			return
		}
		must(err)
		if n > 0 {
			continue
		}
		select {
		case <-hints:
			// One look serves all hints that have come meanwhile.
			for len(hints) > 0 {
				<-hints
			}
		case <-time.After(poll):
		case <-ctx.Done():
		}
	}
}
