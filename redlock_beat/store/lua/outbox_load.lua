-- A new leader takes over what the one before it had claimed: each item is re-stamped with its epoch.
-- KEYS: lease, epoch, outbox
-- ARGV: lease text, epoch, ttl in ms, cursor, how many
-- returns: {0} when the term is over, else {1, next cursor, {id, item, ...}}
-- include: fence
if not term_holds(KEYS[1], KEYS[2], ARGV[1], ARGV[2]) then return {0} end
local page = redis.call('HSCAN', KEYS[3], ARGV[4], 'COUNT', ARGV[5])
local found = page[2]
for i = 1, #found, 2 do
  local item = ARGV[2] .. string.sub(found[i + 1], string.find(found[i + 1], ' ', 1, true) or 1)
  found[i + 1] = item
  redis.call('HSET', KEYS[3], found[i], item)
end
renew_term(KEYS[1], ARGV[1], ARGV[3])
return {1, page[1], found}
