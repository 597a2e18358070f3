-- Wake whoever waits: on a cluster those with a sharded subscription, elsewhere and if there are none, the others.
-- include: presence
local function wake(channel, why)
  if on_cluster() then
    local heard = redis.pcall('SPUBLISH', channel, why)
    if type(heard) == 'number' and heard > 0 then return end
  end
  redis.pcall('PUBLISH', channel, why)
end
