-- Keep a call until its time. A call with the id of one that is kept takes its place.
-- The answer is remembered for a minute, if the time comes within that: asked again after a lost answer, when the call may
-- have been sent already, the caller is told the same.
-- KEYS: countdowns, countdown_items, request
-- ARGV: wake channel, calls kept at most, seconds within which a beat would not look by itself, id, when, item
-- returns: {now, 'kept', 'full' or 'due' (its time has come: nothing is kept)}
-- include: words
-- include: time
-- include: wake
local countdowns, items, request = KEYS[1], KEYS[2], KEYS[3]
local channel, most, soon, id, when, item = word(), tonumber(word()), tonumber(word()), word(), word(), word()
if redis.call('GET', request) then return {now, 'kept'} end
local left = tonumber(when) - tonumber(now_score)
if left <= 0 then return {now, 'due'} end
if redis.call('ZCARD', countdowns) >= most and not redis.call('ZSCORE', countdowns, id) then return {now, 'full'} end
-- The first write is one that a full server refuses: then nothing has been done.
local put = redis.pcall('HSET', items, id, item)
if type(put) == 'table' and put.err then return put end
redis.call('ZADD', countdowns, when, id)
if left < 60 then redis.pcall('SET', request, 'kept', 'PX', 60000) end
if left < soon then wake(channel, 'edit') end
return {now, 'kept'}
