-- Remove manual items that are not sent, or put them off, and say so in the ledger.
-- KEYS: lease, epoch, manual, ledger
-- ARGV: the fence, ledger size, how many, then for each:
--   item, score to try again at ('' to remove it), words of its ledger row: how many (0 for no row), the words
-- returns: how many were there
-- include: fence
-- include: ledger
-- include: place
local manual, ledger = KEYS[3], KEYS[4]
local ledger_size, there = word(), 0
for i = 1, tonumber(word()) do
  local item, again, row = word(), word(), words()
  if redis.call('ZSCORE', manual, item) then
    there = there + 1
    place(manual, item, again)
    note(ledger, ledger_size, row)
  end
end
renew_term()
return there
