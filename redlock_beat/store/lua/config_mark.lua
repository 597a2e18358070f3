-- The configuration is synced: put its mark in the place of the one the sync began with.
-- KEYS: lease, epoch, config
-- ARGV: the fence, mark of the beginning, mark
-- returns: 1 when it is set, 0 when another mark stands there: Redis has lost what was written
-- include: fence
local config = KEYS[3]
local begun, mark = word(), word()
if redis.call('GET', config) ~= begun then return 0 end
redis.call('SET', config, mark)
renew_term()
return 1
