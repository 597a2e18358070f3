-- Give the term back, and tell the others. The epoch grows, so that what its holder has under way is too late:
-- a lease that is gone while the epoch is the same would be retaken.
-- KEYS: lease, epoch, beats
-- ARGV: lease text, epoch ('' for no term), token, wake channel
-- returns: 1 when the term was held, else 0
-- include: fence
-- include: wake
redis.call('HDEL', KEYS[3], ARGV[3])
if ARGV[2] == '' or not term_holds(KEYS[1], KEYS[2], ARGV[1], ARGV[2]) then return 0 end
redis.call('DEL', KEYS[1])
local epoch = redis.pcall('INCR', KEYS[2])
if type(epoch) == 'number' and epoch <= tonumber(ARGV[2]) then  -- the counter was lost: it still only grows
  redis.call('SET', KEYS[2], string.format('%d', tonumber(ARGV[2]) + 1))
end
wake(ARGV[4], 'release')
return 1
