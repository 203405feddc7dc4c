// The consumer that a careful Go user would write: pull, and per batch one transaction with one inbox row and one upsert
// per message, acknowledged after the commit.
//
// Configuration: two workers with a connection each; pull of at most BATCH (100); pgx.Batch, so that a transaction is two
// round trips; a message whose id the inbox has changes nothing. Rows are (id, data, rev) with the payload as it came.
package main

import (
	"context"
	"errors"
	"log"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
)

const (
	note = "INSERT INTO bench_inbox (event_id) VALUES ($1) ON CONFLICT DO NOTHING"
	save = "INSERT INTO bench_item (id, data, rev) VALUES ($1, $2, 1) " +
		"ON CONFLICT (id) DO UPDATE SET data = excluded.data, rev = bench_item.rev + 1"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func setting(name string, otherwise int) int {
	if value, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return value
	}
	return otherwise
}

func handle(ctx context.Context, conn *pgx.Conn, messages []*nats.Msg) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	noted := &pgx.Batch{}
	for _, m := range messages {
		noted.Queue(note, m.Header.Get("Nats-Msg-Id"))
	}
	results := tx.SendBatch(ctx, noted)
	saved := &pgx.Batch{}
	for _, m := range messages {
		tag, err := results.Exec()
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 1 {
			saved.Queue(save, m.Header.Get("Bench-Entity"), m.Data)
		}
	}
	if err := results.Close(); err != nil {
		return err
	}
	if err := tx.SendBatch(ctx, saved).Close(); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

func work(ctx context.Context, js nats.JetStreamContext, batch int) {
	conn, err := pgx.Connect(ctx, os.Getenv("PG_URL"))
	must(err)
	sub, err := js.PullSubscribe("", os.Getenv("DURABLE"), nats.Bind(os.Getenv("STREAM"), os.Getenv("DURABLE")))
	must(err)
	for ctx.Err() == nil {
		messages, err := sub.Fetch(batch, nats.MaxWait(time.Second))
		if errors.Is(err, nats.ErrTimeout) || ctx.Err() != nil {
			continue
		}
		must(err)
		must(handle(ctx, conn, messages))
		for _, m := range messages {
			must(m.Ack())
		}
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	var workers sync.WaitGroup
	for i := 0; i < setting("WORKERS", 2); i++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			nc, err := nats.Connect(os.Getenv("NATS_URL"))
			must(err)
			js, err := nc.JetStream()
			must(err)
			work(ctx, js, setting("BATCH", 100))
		}()
	}
	workers.Wait()
}
