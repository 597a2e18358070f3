-- Give the term back, and tell the others.
-- KEYS: lease, beats
-- ARGV: lease text, token, wake channel
-- returns: 1 when the lease was held, else 0
local held = redis.call('GET', KEYS[1]) == ARGV[1]
if held then redis.call('DEL', KEYS[1]) end
redis.call('HDEL', KEYS[2], ARGV[2])
redis.pcall('PUBLISH', ARGV[3], 'release')
return held and 1 or 0
