-- Remove a manual item that cannot be sent, or put it off, and say so in the ledger.
-- KEYS: lease, epoch, manual, ledger
-- ARGV: lease text, epoch, ttl in ms, item, score to try again at ('' to remove it),
--       ledger size, words of the ledger row
-- returns: -1 when the term is over, else whether it was there
-- include: fence
if not term_holds(KEYS[1], KEYS[2], ARGV[1], ARGV[2]) then return -1 end
local there = redis.call('ZSCORE', KEYS[3], ARGV[4]) and 1 or 0
if there == 1 then
  if ARGV[5] == '' then
    redis.call('ZREM', KEYS[3], ARGV[4])
  else
    redis.call('ZADD', KEYS[3], ARGV[5], ARGV[4])
  end
  if tonumber(ARGV[6]) > 0 then
    local time = redis.call('TIME')
    redis.pcall('XADD', KEYS[4], 'MAXLEN', '~', ARGV[6], '*',
      'at', time[1] .. string.format('%06d', tonumber(time[2])), unpack(ARGV, 7))
  end
end
renew_term(KEYS[1], ARGV[1], ARGV[3])
return there
