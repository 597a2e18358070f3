-- Stand for election: take the lease when it is free, or steal it from a process that is gone.
-- Who is not seen here itself steals nothing: its own subscription is somewhere else, and so is the holder's, perhaps.
-- KEYS: lease, epoch, hold
-- ARGV: token, ttl in ms, owner, lowest epoch seen, lease text to steal ('' for none)
-- returns: {1, epoch, lease text, 1 when the own subscription is seen here, 1 while everything is held} or
--   {0, ms left, lease text, 1 when the own subscription is seen here}
-- include: words
-- include: presence
-- include: held
local lease, epochs = KEYS[1], KEYS[2]
local own, ttl, owner, lowest, stolen = word(), word(), word(), tonumber(word()), word()
local seen = present(lease, own)
local all_held = held_until(KEYS[3]) and 1 or 0
local held = redis.call('GET', lease)
if held then
  local token, epoch = string.match(held, '^(%S+) (%d+) ')
  if token == own then
    -- Ours already: the reply that said so was lost. Unless it is an old term of ours, which a server that came back
    -- older still has: terms that others had since have a higher epoch.
    if tonumber(epoch) >= lowest then
      redis.call('PEXPIRE', lease, ttl)
      return {1, tonumber(epoch), held, seen and 1 or 0, all_held}
    end
  else
    local gone = seen and held == stolen and not present(lease, string.match(held, '^%S*'))
    if not gone then return {0, redis.call('PTTL', lease), held, seen and 1 or 0} end
  end
end
local epoch = redis.call('INCR', epochs)
if epoch <= lowest then
  -- The counter was lost (a server that keeps nothing): it still only grows.
  epoch = lowest + 1
  redis.call('SET', epochs, string.format('%d', epoch))
end
local text = own .. ' ' .. string.format('%d', epoch) .. (seen and ' seen ' or ' unseen ') .. owner
redis.call('SET', lease, text, 'PX', ttl)
return {1, epoch, text, seen and 1 or 0, all_held}
