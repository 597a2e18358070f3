-- Remove items the broker has accepted, by id and unfenced: what is accepted is accepted.
-- KEYS: outbox, ledger
-- ARGV: ledger size, the items as JSON, of each its id, whether it must still be there to be noted, and its ledger row
-- returns: how many were there
-- include: words
-- include: ledger
local outbox, ledger = KEYS[1], KEYS[2]
local ledger_size, items, removed = word(), cjson.decode(word()), 0
for _, item in ipairs(items) do
  local there = redis.call('HDEL', outbox, item[1])
  removed = removed + there
  if there == 1 or not item[2] then note(ledger, ledger_size, item[3]) end
end
return removed
