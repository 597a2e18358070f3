-- Items of the outbox that the broker refuses, of an entry that was edited since: they are rendered anew.
-- KEYS: lease, epoch, outbox, manual
-- ARGV: the fence, wake channel, how many, then for each: id, the item as stamped, manual item
-- returns: how many were there
-- include: fence
-- include: time
-- include: wake
local outbox, manual = KEYS[3], KEYS[4]
local channel, moved = word(), 0
for i = 1, tonumber(word()) do
  local id, stamped, manual_item = word(), word(), word()
  -- Another item may have this id since then: what an earlier try, whose answer was lost, has had rendered anew.
  if redis.call('HGET', outbox, id) == stamped then
    -- Added first: a full server refuses that, and then nothing is lost.
    redis.call('ZADD', manual, seconds, manual_item)
    redis.call('HDEL', outbox, id)
    moved = moved + 1
  end
end
renew_term()
wake(channel, 'edit')
return moved
