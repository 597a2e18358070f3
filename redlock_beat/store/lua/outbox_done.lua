-- Remove items the broker has accepted, by id and unfenced: what is accepted is accepted.
-- KEYS: outbox, ledger
-- ARGV: ledger size, number of items, then for each:
--   id, 1 when it must still be there to be noted, words of its ledger row: how many, the words
-- returns: how many were there
-- include: words
-- include: ledger
local outbox, ledger = KEYS[1], KEYS[2]
local ledger_size, removed = word(), 0
for i = 1, tonumber(word()) do
  local id, must, row = word(), word(), words()
  local there = redis.call('HDEL', outbox, id)
  removed = removed + there
  if there == 1 or must == '0' then note(ledger, ledger_size, row) end
end
return removed
