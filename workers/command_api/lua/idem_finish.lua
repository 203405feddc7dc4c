-- KEYS[1] the key's hash. ARGV: owner, token, status, type, location, body, time to live in ms, 'fenced'.
-- Answers 1, or 0 when the claim is another's, or was released or forgotten. The last argument is always the
-- same, but where a test takes the check away.
local state, owner, token = unpack(redis.call('HMGET', KEYS[1], 'state', 'owner', 'token'))
local mine = owner == ARGV[1] and token == ARGV[2] or ARGV[8] ~= 'fenced'
if mine and state == 'done' then
    return 1 -- the first answer was lost
end
if not mine or state ~= 'pending' then
    return 0
end
redis.call('HSET', KEYS[1], 'state', 'done', 'status', ARGV[3], 'type', ARGV[4], 'location', ARGV[5], 'body', ARGV[6])
redis.call('PEXPIRE', KEYS[1], ARGV[7])
return 1
