-- A leader has seen the hold. Once it is quiet (no message of its is on its way to another broker), the hold says so.
-- KEYS: lease, epoch, hold
-- ARGV: the fence, id of the hold, '1' when the leader is quiet, else ''
-- returns: the fields of the hold and their values; {} when another one stands there now, or none
-- include: fence
local hold = KEYS[3]
local id, quiet = word(), word()
if redis.call('HGET', hold, 'id') ~= id then return {} end
-- A full server may refuse it: then whoever holds waits for the end of the lease instead.
if quiet == '1' then redis.pcall('HSET', hold, 'seen', epoch) end
return redis.call('HGETALL', hold)
