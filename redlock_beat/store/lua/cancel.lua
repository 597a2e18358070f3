-- Cancel manual items that wait, and say so in the ledger. Anyone may: a leader that has one in hand finds it gone.
-- KEYS: manual, ledger
-- ARGV: ledger size, how many items, the items, words of the ledger row: how many, the words (its count is added)
-- returns: how many were there
-- include: words
-- include: ledger
local manual, ledger = KEYS[1], KEYS[2]
local ledger_size, items, row = word(), words(), words()
local gone = 0
for _, item in ipairs(items) do gone = gone + redis.call('ZREM', manual, item) end
if gone > 0 then
  row[#row + 1] = 'count'
  row[#row + 1] = gone
  note(ledger, ledger_size, row)
end
return gone
