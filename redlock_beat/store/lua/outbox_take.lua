-- At most once: take an item out before it is published. Only the one who gets 1 may publish it.
-- KEYS: lease, epoch, hold, outbox
-- ARGV: the fence, id, the item as stamped
-- returns: 1 when taken, 0 when it was gone or another's
-- include: sending
local outbox = KEYS[4]
local id, stamped = word(), word()
if redis.call('HGET', outbox, id) ~= stamped then return 0 end
redis.call('HDEL', outbox, id)
renew_term()
return 1
