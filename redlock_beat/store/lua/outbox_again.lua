-- Items of the outbox that the broker refuses, of an entry that was edited since: they are rendered anew.
-- KEYS: lease, epoch, outbox, manual
-- ARGV: the fence, wake channel, how many, then for each: id, manual item
-- returns: how many were there
-- include: fence
-- include: time
-- include: wake
local outbox, manual = KEYS[3], KEYS[4]
local channel, moved = word(), 0
for i = 1, tonumber(word()) do
  local id, item = word(), word()
  -- Added first: a full server refuses that, and then nothing is lost.
  if redis.call('HEXISTS', outbox, id) == 1 then
    redis.call('ZADD', manual, seconds, item)
    redis.call('HDEL', outbox, id)
    moved = moved + 1
  end
end
renew_term()
wake(channel, 'edit')
return moved
