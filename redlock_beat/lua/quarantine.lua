-- Set an entry aside: it no longer decodes, computes or renders. Nothing of it is lost.
-- KEYS: lease, epoch, due, state, quarantine, ledger
-- ARGV: lease text, epoch, ttl in ms, name, expected state ('' for none), report,
--       score to try again at ('' to leave `due`), state then, ledger size, words of the ledger row
-- returns: -1 when the term is over, 1 when set aside, 0 when the entry has changed meanwhile
-- include: fence
if not term_holds(KEYS[1], KEYS[2], ARGV[1], ARGV[2]) then return -1 end
local now = redis.call('HGET', KEYS[4], ARGV[4])
if (now or '') ~= ARGV[5] then return 0 end
redis.call('HSET', KEYS[5], ARGV[4], ARGV[6])
if ARGV[7] == '' then
  redis.call('ZREM', KEYS[3], ARGV[4])
else
  redis.call('ZADD', KEYS[3], ARGV[7], ARGV[4])
  if ARGV[8] ~= '' then redis.call('HSET', KEYS[4], ARGV[4], ARGV[8]) end
end
if tonumber(ARGV[9]) > 0 then
  local time = redis.call('TIME')
  redis.pcall('XADD', KEYS[6], 'MAXLEN', '~', ARGV[9], '*',
    'at', time[1] .. string.format('%06d', tonumber(time[2])), unpack(ARGV, 10))
end
renew_term(KEYS[1], ARGV[1], ARGV[3])
return 1
