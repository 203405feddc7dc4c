package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
)

const (
	bodyMax   = 256 << 10
	replyTime = 10 * time.Second
)

type call struct {
	name, scope, class string
	keyed              bool
	members            func() members
}

type members interface{ violations() []violation }

type violation struct {
	Pointer string `json:"pointer"`
	Code    string `json:"code"`
}

var calls = map[string]call{
	"/workflow/check-tag": {"check-tag", "workflow.read", "read", false, func() members { return &checkTag{} }},
	"/workflow/start-incremental-run": {"start-incremental-run", "workflow.execute", "execute", true,
		func() members { return &startRun{} }},
}

var (
	sourceForm = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)
	tagForm    = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	hashForm   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	keyForm    = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,255}$`)
)

type checkTag struct {
	Source string `json:"source"`
}

func (m *checkTag) violations() (found []violation) {
	if !sourceForm.MatchString(m.Source) {
		found = append(found, violation{"/source", "pattern"})
	}
	return found
}

type startRun struct {
	Source      string  `json:"source"`
	Tag         string  `json:"tag"`
	ArtifactURL *string `json:"artifact_url,omitempty"`
	SHA256      *string `json:"sha256,omitempty"`
	Mode        *string `json:"mode,omitempty"`
	Until       *string `json:"until,omitempty"`
}

func (m *startRun) violations() (found []violation) {
	check := func(good bool, pointer, code string) {
		if !good {
			found = append(found, violation{pointer, code})
		}
	}
	check(sourceForm.MatchString(m.Source), "/source", "pattern")
	check(tagForm.MatchString(m.Tag), "/tag", "pattern")
	check(m.ArtifactURL == nil || strings.HasPrefix(*m.ArtifactURL, "https://"), "/artifact_url", "pattern")
	check(m.SHA256 == nil || hashForm.MatchString(*m.SHA256), "/sha256", "pattern")
	check(m.Mode == nil || slices.Contains([]string{"incremental", "bootstrap"}, *m.Mode), "/mode", "choice")
	check(m.Until == nil || slices.Contains([]string{"fetch", "diff", "stages", "review"}, *m.Until), "/until", "choice")
	return found
}

// A refusal; nil where an answer is good.
type problem struct {
	status     int
	code       string
	title      string
	detail     string
	retryMS    int64
	violations []violation
}

func refuse(status int, code, detail string) *problem {
	return &problem{status: status, code: code, title: http.StatusText(status), detail: detail}
}

func unavailable(detail string) *problem {
	return &problem{status: 503, code: "retryable_upstream_error", title: "Something that it needs is not there now.",
		detail: detail, retryMS: 5000}
}

func (p *problem) body(id string) []byte {
	list := p.violations
	if list == nil {
		list = []violation{}
	}
	text, _ := json.Marshal(map[string]any{"type": "urn:echora:problem:" + p.code, "instance": "urn:uuid:" + id,
		"title": p.title, "status": p.status, "detail": p.detail, "code": p.code, "retryable": p.retryMS > 0,
		"violations": list})
	return text
}

// One call on its way.
type asked struct {
	*api
	call
	ctx      context.Context
	request  *http.Request
	id       string
	began    time.Time
	who      caller
	known    bool
	rate     rate
	body     []byte
	key      string
	claim    *claimed
	replayed bool
}

func (a *api) serve(w http.ResponseWriter, r *http.Request, c call) {
	s := &asked{api: a, call: c, ctx: r.Context(), request: r, id: r.Header.Get("X-Request-Id"), began: time.Now()}
	if s.id == "" {
		s.id = uuid.NewString()
	}
	answer, refusal := s.run(w)
	if refusal != nil {
		answer = kept{refusal.status, "application/problem+json", "", string(refusal.body(s.id))}
	}
	code := ""
	if refusal != nil {
		code = refusal.code
	}
	if s.known && code != "rate_limited" {
		s.audit(answer.status, code)
	}
	s.write(w, answer, refusal)
	slog.Info("call", "request_id", s.id, "client", s.who.client.ID, "call", s.name, "status", answer.status, "code", code,
		"ms", time.Since(s.began).Milliseconds(), "bytes", len(answer.body))
}

func (s *asked) write(w http.ResponseWriter, answer kept, refusal *problem) {
	h := w.Header()
	h["X-Request-Id"] = []string{s.id}
	h["Cache-Control"] = []string{"no-store"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	h["Content-Type"] = []string{answer.kind}
	if s.rate.quota > 0 {
		h["Ratelimit-Policy"] = []string{fmt.Sprintf("%q;q=%d;w=%d", s.rate.class, s.rate.quota, window)}
		h["Ratelimit"] = []string{fmt.Sprintf("%q;r=%d;t=%d", s.rate.class, s.rate.remaining, s.rate.moreS)}
	}
	if answer.location != "" {
		h["Location"] = []string{answer.location}
	}
	if s.replayed {
		h["Idempotent-Replayed"] = []string{"true"}
	}
	if refusal != nil && refusal.status == 401 {
		h["Www-Authenticate"] = []string{`Bearer realm="echora"`}
	}
	if refusal != nil && refusal.retryMS > 0 {
		h["Retry-After"] = []string{strconv.FormatInt((refusal.retryMS+999)/1000, 10)}
	}
	w.WriteHeader(answer.status)
	_, _ = io.WriteString(w, answer.body)
}

func (s *asked) run(w http.ResponseWriter) (kept, *problem) {
	var err error
	if s.who, err = s.tokens.check(s.request.Header.Get("Authorization")); err != nil {
		return kept{}, refuse(401, "unauthenticated", "The access token is not valid, or no longer.")
	}
	s.known = true
	if !slices.Contains(s.who.scopes, s.scope) {
		return kept{}, refuse(403, "insufficient_scope", "This call needs the scope "+s.scope+".")
	}
	if s.rate, err = s.spend(s.ctx, s.who, s.class); err != nil {
		return kept{}, unavailable("Rates can't be looked up now.")
	}
	if !s.rate.allowed {
		p := refuse(429, "rate_limited", "The quota of calls is used up.")
		p.retryMS = s.rate.moreS * 1000
		return kept{}, p
	}
	m, refusal := s.read(w)
	if refusal != nil {
		return kept{}, refusal
	}
	if !s.keyed {
		return s.ask(m)
	}
	return s.once(m)
}

// read takes and checks body and key.
func (s *asked) read(w http.ResponseWriter) (members, *problem) {
	media, _, _ := mime.ParseMediaType(s.request.Header.Get("Content-Type"))
	if media != "application/json" {
		return nil, refuse(415, "unsupported_media_type", "Send Content-Type: application/json.")
	}
	var err error
	if s.body, err = io.ReadAll(http.MaxBytesReader(w, s.request.Body, bodyMax)); err != nil {
		return nil, refuse(413, "payload_too_large", "At most 262144 bytes.")
	}
	s.key = strings.Trim(s.request.Header.Get("Idempotency-Key"), `"`)
	if s.keyed && !keyForm.MatchString(s.key) {
		return nil, refuse(400, "validation_error", "This call needs a good Idempotency-Key.")
	}
	m := s.members()
	decoder := json.NewDecoder(bytes.NewReader(s.body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(m); err != nil || decoder.More() {
		return nil, refuse(400, "validation_error", "The body can't be read.")
	}
	if found := m.violations(); len(found) > 0 {
		p := refuse(422, "validation_error", "Some members are not right.")
		p.violations = found
		return nil, p
	}
	return m, nil
}

func (s *asked) fingerprint() string {
	parts := strings.Split(s.request.URL.RawQuery, "&")
	slices.Sort(parts)
	media, _, _ := mime.ParseMediaType(s.request.Header.Get("Content-Type"))
	return digest([]byte(s.request.Method + "\n" + s.request.URL.Path + "\n" + strings.Join(parts, "&") + "\n" + media + "\n" +
		string(s.body)))
}

// once asks under the key's claim, and keeps the answer.
func (s *asked) once(m members) (kept, *problem) {
	c, err := s.begin(s.ctx, s.who.client.ID, s.request.URL.Path, s.key, s.fingerprint())
	if err != nil {
		return kept{}, unavailable("Idempotency keys can't be looked up now; nothing was done.")
	}
	switch c.outcome {
	case "other":
		return kept{}, refuse(409, "idempotency_conflict", "The key came before with another request.")
	case "busy":
		p := refuse(409, "request_in_progress", "The first call with this key goes on.")
		p.retryMS = c.busyMS
		return kept{}, p
	case "done":
		s.replayed = true
		return c.answer, nil
	}
	s.claim = c
	answer, refusal := s.ask(m)
	store := answer
	if refusal != nil {
		store = kept{refusal.status, "application/problem+json", "", string(refusal.body(s.id))}
	}
	if refusal != nil && refusal.code != "non_retryable_error" {
		if err := s.release(s.ctx, c); err != nil {
			slog.Warn("a claim was not released", "request_id", s.id)
		}
		return answer, refusal
	}
	mine, err := s.finish(s.ctx, c, store)
	if err != nil {
		slog.Warn("the answer to a key was not kept", "request_id", s.id)
	} else if !mine {
		return kept{}, refuse(409, "request_in_progress", "Another call with this key took over.")
	}
	return answer, refusal
}

// ask puts the request on the bus and reads the reply.
func (s *asked) ask(m members) (kept, *problem) {
	payload, err := json.Marshal(m)
	if err != nil {
		return kept{}, unavailable("No memory.")
	}
	now := time.Now()
	principal := s.who.sub
	if principal == "" {
		principal = s.who.client.ID
	}
	shown, _ := json.Marshal(map[string]any{"client_id": s.who.client.ID, "principal_id": principal, "scopes": s.who.scopes,
		"expires_at": now.Unix() + 60})
	message := &nats.Msg{Subject: "command." + s.name, Data: payload, Header: nats.Header{
		"Content-Type":      {"application/json"},
		"Echora-Context":    {base64.StdEncoding.EncodeToString(shown)},
		"Echora-Deadline":   {strconv.FormatInt(now.Add(replyTime).UnixMilli(), 10)},
		"Echora-Request-Id": {s.id}}}
	if s.claim != nil {
		message.Header["Echora-Idem"] = []string{s.claim.hash + ":" + strconv.FormatInt(s.claim.token, 10)}
	}
	ctx, cancel := context.WithTimeout(s.ctx, replyTime)
	defer cancel()
	reply, err := s.nats.RequestMsgWithContext(ctx, message)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return kept{}, unavailable("Nobody answers this call now.")
	case errors.Is(err, context.DeadlineExceeded):
		p := unavailable("No answer in time; whether it was done is not known. Send it again.")
		p.status = 504
		return kept{}, p
	case err != nil:
		return kept{}, unavailable("The bus is not there now.")
	}
	return s.take(reply)
}

func (s *asked) take(reply *nats.Msg) (kept, *problem) {
	status, err := strconv.Atoi(reply.Header.Get("Echora-Status"))
	failed := &problem{status: 500, code: "non_retryable_error", title: "It failed.", detail: "The responder's answer can't be read."}
	var body struct {
		RunID      int64       `json:"run_id"`
		Code       string      `json:"code"`
		Detail     string      `json:"detail"`
		RetryMS    int64       `json:"retry_after_ms"`
		Violations []violation `json:"violations"`
	}
	if json.Unmarshal(reply.Data, &body) != nil || err != nil {
		return kept{}, failed
	}
	if reply.Header.Get("Nats-Service-Error-Code") != "" || status >= 300 {
		if body.Code == "" {
			return kept{}, failed
		}
		return kept{}, &problem{status: status, code: body.Code, title: http.StatusText(status), detail: body.Detail,
			retryMS: body.RetryMS, violations: body.Violations}
	}
	answer := kept{status: status, kind: "application/json", body: string(reply.Data)}
	if status == 201 && body.RunID > 0 {
		answer.location = "/workflow/runs/" + strconv.FormatInt(body.RunID, 10)
	}
	return answer, nil
}

type record struct {
	At         string         `json:"at"`
	Kind       string         `json:"kind"`
	RequestID  string         `json:"request_id"`
	Client     string         `json:"client"`
	Sub        string         `json:"sub"`
	Call       string         `json:"call"`
	Path       string         `json:"path"`
	IDs        map[string]any `json:"ids"`
	JtiSHA256  string         `json:"jti_sha256,omitempty"`
	KeySHA256  string         `json:"key_sha256,omitempty"`
	BodySHA256 string         `json:"body_sha256"`
	Status     int            `json:"status"`
	Code       string         `json:"code"`
	Replayed   bool           `json:"replayed"`
	MS         int64          `json:"ms"`
}

// audit sends what became of the call; main's handler is told when the stream has not got it.
func (s *asked) audit(status int, code string) {
	r := record{At: time.Now().UTC().Format(time.RFC3339Nano), Kind: "outcome", RequestID: s.id, Client: s.who.client.ID,
		Sub: s.who.sub, Call: s.name, Path: s.request.URL.Path, IDs: map[string]any{}, JtiSHA256: s.who.jtiHash,
		BodySHA256: digest(s.body), Status: status, Code: code, Replayed: s.replayed,
		MS: time.Since(s.began).Milliseconds()}
	if s.keyed {
		r.KeySHA256 = digest([]byte(s.key))
	}
	text, err := json.Marshal(r)
	if err == nil {
		_, err = s.js.PublishMsgAsync(&nats.Msg{Subject: "audit.command", Data: text, Header: nats.Header{
			"Content-Type": {"application/json"}, "Nats-Expected-Stream": {"AUDIT"}}})
	}
	if err != nil {
		slog.Error("no audit record", "request_id", s.id, "reason", err)
	}
}
