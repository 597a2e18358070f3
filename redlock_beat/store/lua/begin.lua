-- A run is about to begin: may it? Asked by the process that runs it, where its entry has one run at a time or the
-- occurrence may have one run only.
-- KEYS: workers, claims, begun, ledger
-- ARGV: ledger size, the worker's token and name, task id, entry, nominal, claim ('' for none), its limit,
--       how often it was tried before ('' when it may begin again and again)
-- returns: {'go'}; {'wait', id}: it is said to run on a worker that lives; {'overtaken', id}: another run has the
--   claim; {'repeat', id}: it has begun before
-- include: words
-- include: claims
-- include: ledger
local workers, claims, begun, ledger = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local ledger_size, token, worker = word(), word(), word()
local id, entry, nominal, key, limit, tries = word(), word(), word(), word(), word(), word()

local function drop(why, other)
  note(ledger, ledger_size, {'is', 'ran', 'outcome', 'dropped', 'entry', entry, 'nominal', nominal, 'id', id,
                             'by', worker, 'started', now, 'why', why})
  return {why == 'repeat' and why or 'overtaken', other}
end
local member = id .. ':' .. tries
if tries ~= '' and redis.call('ZSCORE', begun, member) then return drop('repeat', id) end
if key ~= '' then
  local held, until_, by = claim_of(claims, key)
  if held and stands(workers, until_, by) then
    if held ~= id then return drop('overtaken by ' .. held, held) end
    if by ~= '-' then return {'wait', id} end
  end
  claim(claims, key, id, now, token, limit)
end
if tries ~= '' then
  redis.call('ZADD', begun, seconds, member)
  -- A day's worth, and a million at most.
  redis.call('ZREMRANGEBYSCORE', begun, '-inf', seconds - 86400)
  redis.call('ZREMRANGEBYRANK', begun, 0, -1000001)
end
return {'go', id}
