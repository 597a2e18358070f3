-- Who holds a lock, and until when a call like it is ignored.
-- KEYS: locks, cooldowns
-- ARGV: digest
-- returns: {the lock as JSON or '', now in ms, ms at which the cooldown ends or 0}
-- include: lock
local lock = standing(KEYS[1], ARGV[1])
local cool = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or 0)
return {lock and cjson.encode(lock) or '', ms, cool > ms and cool or 0}
