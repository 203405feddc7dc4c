-- KEYS[1] the key's hash. ARGV: owner, token, time to live in ms. Answers 1, or 0 when the claim is another's or over.
-- The token stays for that time, and its next owner's is higher.
local state, owner, token = unpack(redis.call('HMGET', KEYS[1], 'state', 'owner', 'token'))
if owner ~= ARGV[1] or token ~= ARGV[2] or (state ~= 'pending' and state ~= 'released') then
    return 0
end
redis.call('HSET', KEYS[1], 'state', 'released')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
