// SPDX-License-Identifier: Apache-2.0

// Receives Echora's webhooks (Standard Webhooks 1.0). Copy `verify`; the rest shows how it is used.
//
//	go build -o receive . && ECHORA_WEBHOOK_SECRETS='whsec_…' ./receive PORT
//
// The secret is the sender's own: whoever runs Echora has it in a file (`ops/up`: .echora/secrets/webhook).
// While a secret is being changed, name both: `whsec_new whsec_old`.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

const toleranceS = 300

var (
	idGrammar        = regexp.MustCompile(`^[A-Za-z0-9_:-]{1,255}$`)
	timestampGrammar = regexp.MustCompile(`^[1-9][0-9]{0,14}$`)
	signatureGrammar = regexp.MustCompile(`^[^\s,]+,[^\s,]+( [^\s,]+,[^\s,]+)*$`)

	// Why a call is refused; any other error of verify is one of the configuration.
	errHeaders   = errors.New("headers")
	errTimestamp = errors.New("timestamp")
	errSignature = errors.New("signature")
)

func keysOf(secrets []string) (keys [][]byte, err error) {
	for _, secret := range secrets {
		text := strings.TrimPrefix(secret, "whsec_")
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(key) < 24 || len(key) > 64 || base64.StdEncoding.EncodeToString(key) != text {
			return nil, errors.New("a secret is whsec_ and the base64 of 24 to 64 bytes")
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("a secret is whsec_ and the base64 of 24 to 64 bytes")
	}
	return keys, nil
}

func one(header http.Header, name string, grammar *regexp.Regexp) (string, error) {
	found := header.Values(name)
	if len(found) != 1 || !grammar.MatchString(found[0]) {
		return "", errHeaders
	}
	return found[0], nil
}

// verify gives the id of a genuine call. body: the bytes as they came, before any parsing.
func verify(secrets []string, header http.Header, body []byte, now time.Time) (string, error) {
	keys, err := keysOf(secrets)
	if err != nil {
		return "", err
	}
	id, err := one(header, "webhook-id", idGrammar)
	if err != nil {
		return "", err
	}
	timestamp, err := one(header, "webhook-timestamp", timestampGrammar)
	if err != nil {
		return "", err
	}
	signature, err := one(header, "webhook-signature", signatureGrammar)
	if err != nil {
		return "", err
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return "", errHeaders
	}
	if age := now.Unix() - seconds; age > toleranceS || age < -toleranceS {
		return "", errTimestamp
	}
	genuine := false
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + timestamp + "."))
		mac.Write(body)
		// Text is compared with text: what is not the one canonical base64 of the right bytes is refused as well.
		wanted := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
		for _, given := range strings.Split(signature, " ") {
			genuine = hmac.Equal([]byte(wanted), []byte(given)) || genuine
		}
	}
	if !genuine {
		return "", errSignature
	}
	return id, nil
}

// act is your work. It may see an event again after a crash, so it is done such that a repeat does no harm. Leave the
// type webhook.test out (`echora webhook test`), and those that you do not know.
func act(event json.RawMessage) {
	fmt.Println(string(event))
}

// receiver keeps the newest ids; better a table of your database, written in the transaction of your work.
type receiver struct {
	secrets []string
	mutex   sync.Mutex
	seen    map[string]bool
	order   []string
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, 64<<10))
	if err != nil {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	id, err := verify(r.secrets, request.Header, body, time.Now())
	if err != nil {
		fmt.Fprintln(os.Stderr, "refused:", err)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if !r.seen[id] { // a call comes again until it was answered
		act(body)
		r.seen[id], r.order = true, append(r.order, id)
		if len(r.order) > 10000 {
			delete(r.seen, r.order[0])
			r.order = r.order[1:]
		}
	}
	w.WriteHeader(http.StatusAccepted)
}

func main() {
	secrets := strings.Fields(os.Getenv("ECHORA_WEBHOOK_SECRETS"))
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: ECHORA_WEBHOOK_SECRETS='whsec_…' receive PORT")
		os.Exit(1)
	}
	if _, err := keysOf(secrets); err != nil {
		fmt.Fprintln(os.Stderr, "ECHORA_WEBHOOK_SECRETS:", err)
		os.Exit(1)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err == nil {
		fmt.Fprintln(os.Stderr, "listening on http://"+listener.Addr().String())
		err = http.Serve(listener, &receiver{secrets: secrets, seen: map[string]bool{}})
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
