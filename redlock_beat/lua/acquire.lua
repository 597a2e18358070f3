-- Stand for election: take the lease when it is free, or steal it from a process that is gone.
-- KEYS: lease, epoch
-- ARGV: token, ttl in ms, confirmed (0 or 1), owner, lowest epoch seen,
--       lease text to steal ('' for none), the channel its holder subscribes to
-- returns: {1, epoch, lease text} or {0, ms left, lease text}
local held = redis.call('GET', KEYS[1])
if held then
  if string.sub(held, 1, #ARGV[1] + 1) == ARGV[1] .. ' ' then
    -- Ours already: the reply that said so was lost.
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return {1, tonumber(string.match(held, '^%S+ (%d+)')), held}
  end
  local gone = false
  if ARGV[6] ~= '' and held == ARGV[6] then
    local seen = redis.pcall('PUBSUB', 'NUMSUB', ARGV[7])
    gone = not seen.err and seen[2] == 0
  end
  if not gone then return {0, redis.call('PTTL', KEYS[1]), held} end
end
local epoch = redis.call('INCR', KEYS[2])
if epoch <= tonumber(ARGV[5]) then
  -- The counter was lost (a server that keeps nothing): it still only grows.
  epoch = tonumber(ARGV[5]) + 1
  redis.call('SET', KEYS[2], string.format('%d', epoch))
end
local text = ARGV[1] .. ' ' .. string.format('%d', epoch) .. ' ' .. ARGV[3] .. ' ' .. ARGV[4]
redis.call('SET', KEYS[1], text, 'PX', ARGV[2])
return {1, epoch, text}
