-- Set entries aside: they no longer decode, compute or render. Nothing of them is lost.
-- KEYS: lease, epoch, due, state, quarantine, ledger
-- ARGV: the fence, ledger size, how many, then for each:
--   name, expected state ('' for none), report, score to try again at ('' to leave `due`), state then,
--   words of its ledger row: how many, the words
-- returns: how many were noted; one that has changed meanwhile is left alone
-- include: fence
-- include: ledger
-- include: place
local due, state, quarantine, ledger = KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local ledger_size, done = word(), 0
for i = 1, tonumber(word()) do
  local name, expected, report, retry, state_then, row = word(), word(), word(), word(), word(), words()
  if (redis.call('HGET', state, name) or '') == expected then
    done = done + 1
    redis.call('HSET', quarantine, name, report)
    place(due, name, retry)
    if retry ~= '' and state_then ~= '' then redis.call('HSET', state, name, state_then) end
    note(ledger, ledger_size, row)
  end
end
renew_term()
return done
