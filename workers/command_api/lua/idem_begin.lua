-- KEYS[1] the key's hash. ARGV: fingerprint, owner, lease in ms, time to live in ms.
-- Answers {'new' | 'takeover', token}, {'mismatch'}, {'busy', ms left}, {'replay', status, type, location, body}.
-- The same owner asking again did not hear the first answer, and gets it once more.
-- A key's first token is the time, in microseconds: after everything here was forgotten, too, the next token is higher than all
-- before, and those who keep replies take it for what it is.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local state, fp, owner, token, lease_until, status, media_type, location, body = unpack(redis.call('HMGET', KEYS[1],
    'state', 'fp', 'owner', 'token', 'lease_until', 'status', 'type', 'location', 'body'))

local function claim(answer, next_token)
    redis.call('HSET', KEYS[1], 'state', 'pending', 'fp', ARGV[1], 'owner', ARGV[2], 'token', next_token,
        'lease_until', string.format('%.0f', now + ARGV[3]))
    redis.call('PEXPIRE', KEYS[1], ARGV[4])
    return {answer, next_token}
end

if not state then
    return claim('new', time[1] * 1000000 + time[2])
end
if state == 'released' then
    -- The count goes on, so that what an earlier owner may still have sent is older.
    return claim('new', token + 1)
end
if fp ~= ARGV[1] then
    return {'mismatch'}
end
if state == 'done' then
    return {'replay', tonumber(status), media_type, location, body}
end
if owner == ARGV[2] then
    return claim('new', tonumber(token))
end
-- Far later than any claim makes it: the clock was set back. The token keeps an owner who lives from finishing.
local left = lease_until - now
if left > 0 and left <= 2 * ARGV[3] then
    return {'busy', left}
end
return claim('takeover', token + 1)
