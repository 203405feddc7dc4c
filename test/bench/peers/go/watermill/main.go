// Watermill as a relay: its SQL subscriber, its router, its NATS publisher.
//
// Configuration: pgx adapter, default PostgreSQL schema with BYTEA payloads, 1,000 rows a poll, poll 5 ms; a router handler that passes
// messages on; JetStream publisher with TrackMsgId. Rows stay in its table, as Watermill has it. Subject and table are
// fixed. With the argument init it makes its tables and ends.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wnats "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5/pgxpool"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	pool, err := pgxpool.New(ctx, os.Getenv("PG_URL"))
	must(err)
	logger := watermill.NopLogger{}
	subscriber, err := wsql.NewSubscriber(wsql.BeginnerFromPgx(pool), wsql.SubscriberConfig{
		SchemaAdapter:  wsql.DefaultPostgreSQLSchema{SubscribeBatchSize: 1000, GeneratePayloadType: func(string) string { return "BYTEA" }},
		OffsetsAdapter: wsql.DefaultPostgreSQLOffsetsAdapter{}, PollInterval: 5 * time.Millisecond, InitializeSchema: true,
	}, logger)
	must(err)
	if len(os.Args) > 1 && os.Args[1] == "init" {
		must(subscriber.SubscribeInitialize("bench"))
		return
	}
	publisher, err := wnats.NewPublisher(wnats.PublisherConfig{
		URL: os.Getenv("NATS_URL"), Marshaler: &wnats.NATSMarshaler{},
		JetStream: wnats.JetStreamConfig{TrackMsgId: true, AutoProvision: false},
	}, logger)
	must(err)
	router, err := message.NewRouter(message.RouterConfig{}, logger)
	must(err)
	router.AddHandler("relay", "bench", subscriber, "anime.synced", publisher,
		func(m *message.Message) ([]*message.Message, error) { return message.Messages{m}, nil })
	must(router.Run(ctx))
}
