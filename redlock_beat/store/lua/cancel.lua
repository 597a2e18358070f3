-- Cancel manual items that wait, and say so in the ledger and in the edit log. Anyone may: a leader that has one in hand finds it gone.
-- The answer is remembered for a while under the request's key, so that a retry after a lost reply is told the same.
-- KEYS: manual, ledger, edit log, request
-- ARGV: ledger size, size of the edit log, how many items, the items, the row of each: how many words, the words (their
--   count is added)
-- returns: how many were there
-- include: words
-- include: ledger
local manual, ledger, edit_log, request = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local remembered = redis.call('GET', request)
if remembered then return tonumber(remembered) end
local ledger_size, log_size, items, row, log_row = word(), word(), words(), words(), words()
local gone = 0
for _, item in ipairs(items) do gone = gone + redis.call('ZREM', manual, item) end
redis.pcall('SET', request, gone, 'PX', 300000)  -- a full server refuses it; what is removed is removed
if gone > 0 then
  for _, one in ipairs({row, log_row}) do
    one[#one + 1] = 'count'
    one[#one + 1] = gone
  end
  note(ledger, ledger_size, row)
  note(edit_log, log_size, log_row)
end
return gone
