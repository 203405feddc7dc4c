-- KEYS[1] the key's hash. ARGV: owner, token, lease in ms. Answers 1, or 0 when the claim is another's or over.
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local state, owner, token = unpack(redis.call('HMGET', KEYS[1], 'state', 'owner', 'token'))
if state ~= 'pending' or owner ~= ARGV[1] or token ~= ARGV[2] then
    return 0
end
redis.call('HSET', KEYS[1], 'lease_until', string.format('%.0f', now + ARGV[3]))
return 1
