-- Presence: a process lives while its channel has a subscriber at the server that runs the script.
--
-- It is counted where the keys are, whatever a client believes of its subscription. On a cluster
-- subscriptions are sharded (Redis 7, Valkey): they belong to the owner of the slot, as the keys do.
local function on_cluster()
  local info = redis.pcall('INFO', 'cluster')
  return type(info) == 'string' and string.find(info, 'cluster_enabled:1', 1, true) ~= nil
end

local function present(lease, token)
  local channel = string.sub(lease, 1, -6) .. 'beat:' .. token
  local counted = redis.pcall('PUBSUB', 'NUMSUB', channel)
  if not counted.err and counted[2] > 0 then return true end
  if not on_cluster() then return false end
  counted = redis.pcall('PUBSUB', 'SHARDNUMSUB', channel)
  return not counted.err and counted[2] > 0
end
