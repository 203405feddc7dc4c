-- KEYS[1] the bucket. ARGV: microseconds per unit, units of a burst. GCRA on the server's clock: the bucket is
-- the time at which it will be full again. Answers {1 spent or 0 refused, microseconds from now to that time}.
-- rate.c has the same arithmetic for when Redis is away.
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local unit, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local full_at = tonumber(redis.call('GET', KEYS[1]) or now)
-- Later than any spending makes it: the clock was set back.
full_at = math.min(math.max(full_at, now), now + unit * burst)
if full_at + unit - now > unit * burst then
    return {0, full_at - now}
end
full_at = full_at + unit
redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000))
return {1, full_at - now}
