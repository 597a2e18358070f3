-- Keep a call until its time. A call with the id of one that is kept takes its place.
-- KEYS: countdowns, countdown_items
-- ARGV: wake channel, calls kept at most, seconds within which a beat would not look by itself, id, when, item
-- returns: {now, 'kept', 'full' or 'due' (its time has come: nothing is kept)}
-- include: words
-- include: time
-- include: wake
local countdowns, items = KEYS[1], KEYS[2]
local channel, most, soon, id, when, item = word(), tonumber(word()), tonumber(word()), word(), word(), word()
local left = tonumber(when) - tonumber(now_score)
if left <= 0 then return {now, 'due'} end
if redis.call('ZCARD', countdowns) >= most and not redis.call('ZSCORE', countdowns, id) then return {now, 'full'} end
-- The first write is one that a full server refuses: then nothing has been done.
local put = redis.pcall('HSET', items, id, item)
if type(put) == 'table' and put.err then return put end
redis.call('ZADD', countdowns, when, id)
if left < soon then wake(channel, 'edit') end
return {now, 'kept'}
