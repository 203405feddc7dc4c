// SPDX-License-Identifier: Apache-2.0

// Publishes one event, and may be run again at will: what is stored already is answered as `duplicate`.
//
//	go generate && go build -o publish .
//	NATS_URL=nats://127.0.0.1:4222 NATS_USER=publisher NATS_PASSWORD=... \
//	    ./publish anime.enriched ../events/anime.enriched.json
package main

//go:generate go build -o bin/ google.golang.org/protobuf/cmd/protoc-gen-go
//go:generate sh generate.sh

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	events "example.org/publish/gen/events"
)

// Subject → message, stream and the field that names the entity (contracts/asyncapi.json has them all).
var subjects = map[string]struct {
	event  proto.Message
	stream string
	entity protoreflect.Name
}{
	"anime.enriched":      {&events.AnimeEnrichedEvent{}, "ANIME_EVENTS", "anime_id"},
	"anime.updated":       {&events.AnimeUpdatedEvent{}, "ANIME_EVENTS", "anime_id"},
	"anime.episode.aired": {&events.EpisodeAiredEvent{}, "ANIME_EVENTS", "anime_id"},
	"character.updated":   {&events.CharacterUpdatedEvent{}, "ANIME_EVENTS", "character_id"},
	"episode.updated":     {&events.EpisodeUpdatedEvent{}, "ANIME_EVENTS", "episode_id"},
}

func text(m proto.Message, field protoreflect.Name) string {
	r := m.ProtoReflect()
	return r.Get(r.Descriptor().Fields().ByName(field)).String()
}

func traceparent() string {
	var id [24]byte
	_, _ = rand.Read(id[:]) // never fails
	return fmt.Sprintf("00-%x-%x-01", id[:16], id[16:])
}

func publish(subject, path string) error {
	row, known := subjects[subject]
	if !known {
		return fmt.Errorf("%s is no subject of publishers", subject)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	// Unknown members and wrong types fail here, before anything is sent.
	if err := protojson.Unmarshal(content, row.event); err != nil {
		return err
	}
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(row.event)
	if err != nil {
		return err
	}
	connection, err := nats.Connect(os.Getenv("NATS_URL"), nats.NoReconnect(),
		nats.UserInfo(os.Getenv("NATS_USER"), os.Getenv("NATS_PASSWORD")))
	if err != nil {
		return err
	}
	defer connection.Close()
	stream, err := jetstream.New(connection)
	if err != nil {
		return err
	}
	// Same event, same bytes, same id: the broker stores it once in 24 hours, the catalogue applies it once.
	digest := sha256.Sum256(payload)
	id := fmt.Sprintf("%s-%x", text(row.event, row.entity), digest[:4])
	message := &nats.Msg{Subject: subject, Data: payload, Header: nats.Header{
		"Nats-Msg-Id":          {id},
		"Nats-Expected-Stream": {row.stream},
		"Content-Type":         {"application/protobuf"},
		"Echora-Event-Id":      {text(row.event, "event_id")},
		"Echora-Schema":        {string(row.event.ProtoReflect().Descriptor().FullName())},
		"traceparent":          {traceparent()},
	}}
	limited, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	// Returns when the broker has stored it. A timeout means "not known": publish the same again.
	ack, err := stream.PublishMsg(limited, message)
	if err != nil {
		return err
	}
	state := "stored"
	if ack.Duplicate {
		state = "duplicate"
	}
	fmt.Printf("%s %s %s:%d\n", text(row.event, "event_id"), state, ack.Stream, ack.Sequence)
	return nil
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: publish SUBJECT FILE.json")
		os.Exit(2)
	}
	if err := publish(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
