-- Stand for election: take the lease when it is free, or steal it from a process that is gone.
-- Who is not seen here itself steals nothing: its own subscription is somewhere else, and so is the holder's, perhaps.
-- KEYS: lease, epoch
-- ARGV: token, ttl in ms, owner, lowest epoch seen, lease text to steal ('' for none)
-- returns: {1, epoch, lease text, 1 when the own subscription is seen here} or {0, ms left, lease text, the same}
-- include: presence
local seen = present(KEYS[1], ARGV[1])
local held = redis.call('GET', KEYS[1])
if held then
  local token, epoch = string.match(held, '^(%S+) (%d+) ')
  if token == ARGV[1] then
    -- Ours already: the reply that said so was lost. Unless it is an old term of ours, which a server that came back
    -- older still has: terms that others had since have a higher epoch.
    if tonumber(epoch) >= tonumber(ARGV[4]) then
      redis.call('PEXPIRE', KEYS[1], ARGV[2])
      return {1, tonumber(epoch), held, seen and 1 or 0}
    end
  else
    local gone = seen and held == ARGV[5] and not present(KEYS[1], string.match(held, '^%S+'))
    if not gone then return {0, redis.call('PTTL', KEYS[1]), held, seen and 1 or 0} end
  end
end
local epoch = redis.call('INCR', KEYS[2])
if epoch <= tonumber(ARGV[4]) then
  -- The counter was lost (a server that keeps nothing): it still only grows.
  epoch = tonumber(ARGV[4]) + 1
  redis.call('SET', KEYS[2], string.format('%d', epoch))
end
local text = ARGV[1] .. ' ' .. string.format('%d', epoch) .. (seen and ' seen ' or ' unseen ') .. ARGV[3]
redis.call('SET', KEYS[1], text, 'PX', ARGV[2])
return {1, epoch, text, seen and 1 or 0}
