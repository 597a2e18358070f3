-- Set entries aside: they no longer decode, compute or render. Nothing of them is lost.
-- KEYS: lease, epoch, due, state, quarantine, ledger
-- ARGV: lease text, epoch, ttl in ms, ledger size, how many, then for each:
--   name, expected state ('' for none), report, score to try again at ('' to leave `due`), state then,
--   words of its ledger row: how many, the words
-- returns: -1 when the term is over, else how many were set aside; one that has changed meanwhile is not
-- include: fence
if not term_holds(KEYS[1], KEYS[2], ARGV[1], ARGV[2]) then return -1 end
local time = redis.call('TIME')
local now = time[1] .. string.format('%06d', tonumber(time[2]))
local ledger_size, at, done = tonumber(ARGV[4]), 6, 0
for i = 1, tonumber(ARGV[5]) do
  local name, expected, report, retry, state_then = unpack(ARGV, at, at + 4)
  local first = at + 6
  at = first + tonumber(ARGV[at + 5])
  if (redis.call('HGET', KEYS[4], name) or '') == expected then
    done = done + 1
    redis.call('HSET', KEYS[5], name, report)
    if retry == '' then
      redis.call('ZREM', KEYS[3], name)
    else
      redis.call('ZADD', KEYS[3], retry, name)
      if state_then ~= '' then redis.call('HSET', KEYS[4], name, state_then) end
    end
    if ledger_size > 0 then
      redis.pcall('XADD', KEYS[6], 'MAXLEN', '~', ledger_size, '*', 'at', now, unpack(ARGV, first, at - 1))
    end
  end
end
renew_term(KEYS[1], ARGV[1], ARGV[3])
return done
