-- Release what is held. The answer is remembered for a while, so that a retry after a lost reply is told the same.
-- KEYS: hold, edit log, request
-- ARGV: wake channel, size of the edit log, words of its row: how many, the words
-- returns: JSON: the fields of the hold and their values, one after the other; {} when nothing was held
-- include: words
-- include: ledger
-- include: held
-- include: wake
local hold, edit_log, request = KEYS[1], KEYS[2], KEYS[3]
local remembered = redis.call('GET', request)
if remembered then return remembered end
local channel, log_size, row = word(), word(), words()
local there = held_until(hold) and redis.call('HGETALL', hold) or {}
local answer = cjson.encode(there)
redis.pcall('SET', request, answer, 'PX', 300000)  -- a full server refuses it; what is released is released
redis.call('DEL', hold)
if #there > 0 then
  note(edit_log, log_size, row)
  wake(channel, 'edit')
end
return answer
