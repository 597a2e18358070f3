-- Remove manual items that are not sent, or put them off, and say so in the ledger.
-- KEYS: lease, epoch, manual, ledger
-- ARGV: lease text, epoch, ttl in ms, ledger size, how many, then for each:
--   item, score to try again at ('' to remove it), words of its ledger row: how many (0 for no row), the words
-- returns: -1 when the term is over, else how many were there
-- include: fence
if not term_holds(KEYS[1], KEYS[2], ARGV[1], ARGV[2]) then return -1 end
local time = redis.call('TIME')
local now = time[1] .. string.format('%06d', tonumber(time[2]))
local ledger_size, at, there = tonumber(ARGV[4]), 6, 0
for i = 1, tonumber(ARGV[5]) do
  local item, again, first = ARGV[at], ARGV[at + 1], at + 3
  at = first + tonumber(ARGV[at + 2])
  if redis.call('ZSCORE', KEYS[3], item) then
    there = there + 1
    if again == '' then
      redis.call('ZREM', KEYS[3], item)
    else
      redis.call('ZADD', KEYS[3], again, item)
    end
    if ledger_size > 0 and at > first then
      redis.pcall('XADD', KEYS[4], 'MAXLEN', '~', ledger_size, '*', 'at', now, unpack(ARGV, first, at - 1))
    end
  end
end
renew_term(KEYS[1], ARGV[1], ARGV[3])
return there
