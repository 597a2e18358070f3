-- Read entries as they are at one instant.
-- KEYS: entries, state, due
-- ARGV: names
-- returns: {now, [definition or false, ...], [state or false, ...], [score or false, ...]}
-- include: time
local entries, state, due = KEYS[1], KEYS[2], KEYS[3]
if #ARGV == 0 then return {now, {}, {}, {}} end
return {now, redis.call('HMGET', entries, unpack(ARGV)), redis.call('HMGET', state, unpack(ARGV)),
        redis.call('ZMSCORE', due, unpack(ARGV))}
