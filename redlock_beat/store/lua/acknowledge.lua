-- Acknowledge what Redis has lost. The answer is remembered for a while, so that a retry after a lost reply is told the same.
-- KEYS: loss, edit log, request
-- ARGV: size of the edit log, words of its row: how many, the words
-- returns: what was lost; '' when there is no loss
-- include: words
-- include: ledger
local loss, edit_log, request = KEYS[1], KEYS[2], KEYS[3]
local remembered = redis.call('GET', request)
if remembered then return remembered end
local log_size, row = word(), words()
local there = redis.call('GET', loss) or ''
redis.pcall('SET', request, there, 'PX', 300000)
redis.call('DEL', loss)
if there ~= '' then note(edit_log, log_size, row) end
return there
