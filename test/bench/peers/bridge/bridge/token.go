package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

type client struct {
	ID     string           `json:"id"`
	Scopes []string         `json:"scopes"`
	Limits map[string]int64 `json:"limits"`
}

type tokens struct {
	parser  *jwt.Parser
	keys    map[string]*ecdsa.PublicKey
	clients map[string]client
	// Tokens that were found good, by their hash, as ours remembers them. Keys and clients never change here.
	remember bool
	lock     sync.RWMutex
	good     map[[sha256.Size]byte]verified
}

type verified struct {
	who         caller
	from, until time.Time
}

const (
	skew    = 60 * time.Second
	goodMax = 64
)

type caller struct {
	client  client
	sub     string
	scopes  []string
	jtiHash string
}

type claims struct {
	jwt.RegisteredClaims
	ClientID string          `json:"client_id"`
	Azp      string          `json:"azp"`
	Scope    json.RawMessage `json:"scope"`
}

var errToken = errors.New("the token is not good")

func coordinate(text string) *big.Int {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	must(err)
	return new(big.Int).SetBytes(raw)
}

func readTokens(issuer, audience, jwks, table string, remember bool) *tokens {
	var set struct {
		Keys []struct{ Kid, Kty, Crv, X, Y string }
	}
	var listed struct{ Clients []client }
	readJSON(jwks, &set)
	readJSON(table, &listed)
	t := &tokens{remember: remember, keys: map[string]*ecdsa.PublicKey{}, clients: map[string]client{}, good: map[[sha256.Size]byte]verified{}}
	for _, k := range set.Keys {
		if k.Kty == "EC" && k.Crv == "P-256" {
			t.keys[k.Kid] = &ecdsa.PublicKey{Curve: elliptic.P256(), X: coordinate(k.X), Y: coordinate(k.Y)}
		}
	}
	for _, c := range listed.Clients {
		t.clients[c.ID] = c
	}
	t.parser = jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer(issuer), jwt.WithAudience(audience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(skew), jwt.WithStrictDecoding())
	return t
}

func (t *tokens) key(token *jwt.Token) (any, error) {
	kid, _ := token.Header["kid"].(string)
	typ, _ := token.Header["typ"].(string)
	key, found := t.keys[kid]
	if !found || !strings.EqualFold(strings.TrimPrefix(typ, "application/"), "at+jwt") {
		return nil, errToken
	}
	for _, name := range []string{"crit", "b64", "zip"} {
		if _, there := token.Header[name]; there {
			return nil, errToken
		}
	}
	return key, nil
}

func scopesOf(raw json.RawMessage) ([]string, error) {
	var text string
	if len(raw) == 0 {
		return nil, nil
	}
	if json.Unmarshal(raw, &text) == nil {
		return strings.Fields(text), nil
	}
	var list []string
	return list, json.Unmarshal(raw, &list)
}

// check tells who calls; Authorization as it came.
func (t *tokens) check(authorization string) (caller, error) {
	const scheme = "Bearer "
	if len(authorization) < len(scheme) || !strings.EqualFold(authorization[:len(scheme)], scheme) ||
		len(authorization) > 8192+len(scheme) {
		return caller{}, errToken
	}
	text := strings.TrimLeft(authorization[len(scheme):], " ")
	hash, now := sha256.Sum256([]byte(text)), time.Now()
	t.lock.RLock()
	v, found := t.good[hash]
	t.lock.RUnlock()
	if t.remember && found && !now.Before(v.from) && now.Before(v.until) {
		return v.who, nil
	}
	who, c, err := t.verify(text)
	if err != nil {
		return caller{}, err
	}
	v = verified{who, c.IssuedAt.Add(-skew), c.ExpiresAt.Add(skew)}
	if c.NotBefore != nil && c.NotBefore.After(c.IssuedAt.Time) {
		v.from = c.NotBefore.Add(-skew)
	}
	t.lock.Lock()
	if len(t.good) >= goodMax {
		clear(t.good)
	}
	t.good[hash] = v
	t.lock.Unlock()
	return who, nil
}

func (t *tokens) verify(text string) (caller, *claims, error) {
	c := &claims{}
	if _, err := t.parser.ParseWithClaims(text, c, t.key); err != nil {
		return caller{}, nil, err
	}
	if c.IssuedAt == nil || c.ExpiresAt.Sub(c.IssuedAt.Time) > time.Hour {
		return caller{}, nil, errToken
	}
	id := c.ClientID
	if id == "" {
		id = c.Azp
	}
	known, found := t.clients[id]
	given, err := scopesOf(c.Scope)
	if !found || err != nil {
		return caller{}, nil, errToken
	}
	who := caller{client: known, sub: c.Subject}
	for _, scope := range given {
		if slices.Contains(known.Scopes, scope) {
			who.scopes = append(who.scopes, scope)
		}
	}
	if c.ID != "" {
		who.jtiHash = digest([]byte(c.ID))
	}
	return who, c, nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
