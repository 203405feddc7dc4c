// The Command API that a careful Go user would write, for two of its calls: check-tag, and start-incremental-run with
// an Idempotency-Key. The steps and their order are those of the specification: token, scope, rate, body, members,
// claim of the key, request on the bus, answer kept, audit record, answer, one line of log. As in ours, a token that was
// just found good costs a hash (VERIFY=always: a signature each time), and the stream's word for the record is not waited
// for.
//
// Configuration: net/http with its defaults but for timeouts and sizes; golang-jwt 5 with the keys read once; go-redis 9
// with its default pool and EVALSHA; nats.go's request with its one inbox, and its asynchronous JetStream publish.
// It leaves out what the load does not ask for: the other calls, metrics, traces, renewing of claims, local buckets
// while Redis is away, keys that change, orderly end.
package main

import (
	"encoding/json"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
)

type api struct {
	tokens *tokens
	redis  *redis.Client
	nats   *nats.Conn
	js     jetstream.JetStream
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func secret(file string) string {
	text, err := os.ReadFile(file)
	must(err)
	return strings.TrimSpace(string(text))
}

func listen(where string) net.Listener {
	kind := "tcp"
	if strings.HasPrefix(where, "/") {
		kind = "unix"
		_ = os.Remove(where)
	}
	listener, err := net.Listen(kind, where)
	must(err)
	if kind == "unix" {
		must(os.Chmod(where, 0o666))
	}
	return listener
}

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil)))
	a := &api{tokens: readTokens(os.Getenv("ISSUER"), os.Getenv("AUDIENCE"), os.Getenv("JWKS"), os.Getenv("CLIENTS"),
		os.Getenv("VERIFY") != "always")}
	a.redis = redis.NewClient(&redis.Options{Addr: os.Getenv("REDIS_ADDRESS"), Username: os.Getenv("REDIS_USER"),
		Password: secret(os.Getenv("REDIS_PASSWORD_FILE")), Protocol: 2, DisableIdentity: true})
	var err error
	a.nats, err = nats.Connect(os.Getenv("NATS_URL"), nats.MaxReconnects(-1))
	must(err)
	a.js, err = jetstream.New(a.nats, jetstream.WithPublishAsyncMaxPending(4096),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, m *nats.Msg, err error) {
			slog.Error("no audit record", "subject", m.Subject, "reason", err)
		}))
	must(err)
	mux := http.NewServeMux()
	for path, c := range calls {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) { a.serve(w, r, c) })
	}
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 20 * time.Second,
		IdleTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10}
	must(server.Serve(listen(os.Getenv("LISTEN"))))
}

func readJSON(file string, to any) {
	text, err := os.ReadFile(file)
	must(err)
	must(json.Unmarshal(text, to))
}
