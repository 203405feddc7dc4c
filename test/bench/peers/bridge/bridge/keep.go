package main

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
)

const (
	lease = 30 * time.Second
	keep  = 30 * 24 * time.Hour
)

var errReply = errors.New("what Redis answers can't be read")

// A bucket is the time at which it is full again; micros a unit, units of a burst. {1 or 0, micros until it is full}.
var spend = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local unit, most = tonumber(ARGV[1]), tonumber(ARGV[1]) * tonumber(ARGV[2])
local full = tonumber(redis.call('GET', KEYS[1]) or now)
full = math.min(math.max(full, now), now + most)
if full + unit - now > most then return {0, full - now} end
full = full + unit
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
return {1, full - now}`)

// {'mine', token}, {'other'} fingerprint, {'busy', ms}, {'done', status, type, location, body}.
var begin = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local h = redis.call('HMGET', KEYS[1], 'state', 'fp', 'token', 'lease_until', 'status', 'type', 'location', 'body')
local function claim(token)
  redis.call('HSET', KEYS[1], 'state', 'pending', 'fp', ARGV[1], 'owner', ARGV[2], 'token', token,
    'lease_until', string.format('%.0f', now + ARGV[3]))
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  return {'mine', token}
end
if not h[1] then return claim(1) end
if h[1] == 'released' then return claim(h[3] + 1) end
if h[2] ~= ARGV[1] then return {'other'} end
if h[1] == 'done' then return {'done', tonumber(h[5]), h[6], h[7], h[8]} end
if tonumber(h[4]) > now then return {'busy', h[4] - now} end
return claim(h[3] + 1)`)

// 1, or 0 when the claim is another's.
var finish = redis.NewScript(`
local h = redis.call('HMGET', KEYS[1], 'state', 'owner', 'token')
if h[2] ~= ARGV[1] or h[3] ~= ARGV[2] then return 0 end
if h[1] == 'done' then return 1 end
if h[1] ~= 'pending' then return 0 end
redis.call('HSET', KEYS[1], 'state', 'done', 'status', ARGV[3], 'type', ARGV[4], 'location', ARGV[5], 'body', ARGV[6])
redis.call('PEXPIRE', KEYS[1], ARGV[7])
return 1`)

var release = redis.NewScript(`
local h = redis.call('HMGET', KEYS[1], 'state', 'owner', 'token')
if h[1] ~= 'pending' or h[2] ~= ARGV[1] or h[3] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'state', 'released')
return 1`)

type rate struct {
	allowed      bool
	remaining    int64
	moreS, quota int64
	class        string
}

const window = 60

func (a *api) spend(ctx context.Context, who caller, class string) (rate, error) {
	quota := who.client.Limits[class]
	if quota == 0 {
		quota = map[string]int64{"read": 300, "execute": 60, "approve": 60}[class]
	}
	unit := window * 1_000_000 / quota
	key := "echora:rl:v1:" + digest([]byte(who.client.ID)) + ":" + class
	said, err := spend.Run(ctx, a.redis, []string{key}, unit, quota).Int64Slice()
	if err != nil || len(said) != 2 {
		return rate{}, errors.Join(err, errReply)
	}
	free := max(0, unit*quota-said[1])
	return rate{said[0] == 1, free / unit, (unit - free%unit + 999_999) / 1_000_000, quota, class}, nil
}

type kept struct {
	status               int
	kind, location, body string
}

type claimed struct {
	key, hash, owner string
	token            int64
	outcome          string
	busyMS           int64
	answer           kept
}

func (a *api) begin(ctx context.Context, client, path, key, fingerprint string) (*claimed, error) {
	c := &claimed{owner: strings.ReplaceAll(uuid.NewString(), "-", "")}
	c.key = "echora:idem:v1:" + digest([]byte(client)) + ":" + path + ":" + digest([]byte(key))
	c.hash = digest([]byte(c.key))
	said, err := begin.Run(ctx, a.redis, []string{c.key}, fingerprint, c.owner, lease.Milliseconds(),
		keep.Milliseconds()).Slice()
	if err != nil {
		return nil, err
	}
	c.outcome, _ = said[0].(string)
	switch {
	case c.outcome == "mine" && len(said) == 2:
		c.token, _ = said[1].(int64)
	case c.outcome == "busy" && len(said) == 2:
		c.busyMS, _ = said[1].(int64)
	case c.outcome == "done" && len(said) == 5:
		status, _ := said[1].(int64)
		c.answer.status = int(status)
		c.answer.kind, _ = said[2].(string)
		c.answer.location, _ = said[3].(string)
		c.answer.body, _ = said[4].(string)
	case c.outcome != "other":
		return nil, errReply
	}
	return c, nil
}

// finish keeps the answer; false when the claim was lost.
func (a *api) finish(ctx context.Context, c *claimed, answer kept) (bool, error) {
	n, err := finish.Run(ctx, a.redis, []string{c.key}, c.owner, c.token, strconv.Itoa(answer.status), answer.kind,
		answer.location, answer.body, keep.Milliseconds()).Int()
	return n == 1, err
}

func (a *api) release(ctx context.Context, c *claimed) error {
	return release.Run(ctx, a.redis, []string{c.key}, c.owner, c.token).Err()
}
