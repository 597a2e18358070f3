-- Give the term back, and tell the others. The epoch grows, so that what its holder has under way is too late:
-- a lease that is gone while the epoch is the same would be retaken.
-- KEYS: lease, epoch, beats
-- ARGV: the fence (its text '' for no term), token, wake channel
-- returns: 1 when the term was held, else 0
-- include: term
-- include: wake
local beats = KEYS[3]
local token, channel = word(), word()
redis.call('HDEL', beats, token)
if lease_text == '' then  -- it knows of no term, and may hold one: it was told to end before it read that it had won
  local own, won = string.match(redis.call('GET', lease) or '', '^(%S+) (%S+) ')
  if own ~= token then return 0 end
  epoch = won
elseif not term_holds() then
  return 0
end
redis.call('DEL', lease)
local next_epoch = redis.pcall('INCR', epochs)
if type(next_epoch) == 'number' and next_epoch <= tonumber(epoch) then  -- the counter was lost: it still only grows
  redis.call('SET', epochs, string.format('%d', tonumber(epoch) + 1))
end
wake(channel, 'release')
return 1
