-- A new leader takes over what the one before it had claimed: each item is re-stamped with its epoch.
-- KEYS: lease, epoch, outbox
-- ARGV: the fence, cursor, how many
-- returns: {next cursor, {id, item, ...}}
-- include: fence
local outbox = KEYS[3]
local cursor, count = word(), word()
local page = redis.call('HSCAN', outbox, cursor, 'COUNT', count)
local found = page[2]
for i = 1, #found, 2 do
  local id, item = found[i], found[i + 1]
  found[i + 1] = epoch .. string.sub(item, string.find(item, ' ', 1, true) or 1)
  redis.call('HSET', outbox, id, found[i + 1])
end
renew_term()
return {page[1], found}
