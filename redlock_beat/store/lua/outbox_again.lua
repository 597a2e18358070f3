-- Items of the outbox that the broker refuses, of an entry that was edited or removed since: they are rendered anew, or
-- given up.
-- KEYS: lease, epoch, outbox, manual, ledger
-- ARGV: the fence, wake channel, ledger size, how many, then for each: id, the item as stamped, manual item ('' to give it
--   up), words of its ledger row: how many (0 for no row), the words
-- returns: how many were there
-- include: fence
-- include: ledger
-- include: wake
local outbox, manual, ledger = KEYS[3], KEYS[4], KEYS[5]
local channel, ledger_size, moved = word(), word(), 0
for i = 1, tonumber(word()) do
  local id, stamped, manual_item, row = word(), word(), word(), words()
  -- Another item may have this id since then: what an earlier try, whose answer was lost, has had rendered anew.
  if redis.call('HGET', outbox, id) == stamped then
    -- Added first: a full server refuses that, and then nothing is lost.
    if manual_item ~= '' then redis.call('ZADD', manual, seconds, manual_item) end
    redis.call('HDEL', outbox, id)
    note(ledger, ledger_size, row)
    moved = moved + 1
  end
end
renew_term()
wake(channel, 'edit')
return moved
