-- Calls like one are ignored for so long from now.
-- KEYS: cooldowns
-- ARGV: digest, ms (0: no longer)
-- returns: when that ends, in ms
-- include: words
-- include: lock
local cooldowns = KEYS[1]
local digest, cooldown = word(), tonumber(word())
if cooldown > 0 then
  redis.call('ZADD', cooldowns, ms + cooldown, digest)
else
  redis.call('ZREM', cooldowns, digest)
end
return ms + cooldown
