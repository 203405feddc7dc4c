-- KEYS[1] the key's hash. ARGV: owner, token. Answers 1, or 0 when the claim is another's or over.
-- The token stays, and its next owner's is higher.
local state, owner, token = unpack(redis.call('HMGET', KEYS[1], 'state', 'owner', 'token'))
if owner ~= ARGV[1] or token ~= ARGV[2] or (state ~= 'pending' and state ~= 'released') then
    return 0
end
redis.call('HSET', KEYS[1], 'state', 'released')
return 1
