-- Hold everything: from this step on no commit succeeds, until the hold is released or its time has come.
--
-- It is compared with the hold that it takes the place of. The answer is remembered for a while under the request's
-- key, so that a retry after a lost reply is harmless.
--
-- KEYS: hold, lease, edit log, request
-- ARGV: wake channel, size of the edit log, id of the hold that stands ('' for none), id of this one,
--       until when it holds, in microseconds ('' for no end), other fields of the hold: how many, the words;
--       words of the row of the edit log: how many, the words
-- returns: JSON: {what, now, lease text or '', ms left of the lease}, where what is 'held', 'past' (its time has come
--   already) or 'changed' (another hold stands than was expected)
-- include: words
-- include: ledger
-- include: held
-- include: wake
local hold, lease, edit_log, request = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local remembered = redis.call('GET', request)
if remembered then return remembered end
local channel, log_size, expected, id, ends, others, row = word(), word(), word(), word(), word(), words(), words()

local stands = held_until(hold) and redis.call('HGET', hold, 'id') or ''
local what = 'held'
if ends ~= '' and tonumber(ends) <= tonumber(now) then
  what = 'past'
elseif stands ~= expected then
  what = 'changed'
end
local answer = cjson.encode({what, now, redis.call('GET', lease) or '', math.max(0, redis.call('PTTL', lease))})
-- The first write is one that a full server refuses: then nothing at all has been done.
redis.call('SET', request, answer, 'PX', 300000)
if what == 'held' then
  redis.call('DEL', hold)
  redis.call('HSET', hold, 'id', id, 'at', now, 'until', ends, unpack(others))
  note(edit_log, log_size, row)
  wake(channel, 'edit')
end
return answer
