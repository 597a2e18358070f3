-- A worker looks through some of the runs and claims: what the dead have left is noted and freed.
-- KEYS: workers, runs, claims, buffered, manual, due, ledger, failures, entries, state, what it found last
-- ARGV: ledger size, wake channel, own token, where to go on in runs and in claims, how many of each, request
-- returns: {where to go on in runs, in claims ('0': that was all),
--   {id, entry, nominal, claim key or '', ...} that are said to run on this worker,
--   {{entry, runs failed in a row, task id, why}, ...} of those with as many as they allow,
--   {id, entry, nominal, worker, ...} that were lost}
-- include: words
-- include: claims
-- include: run
-- include: wake
local workers, runs, claims, buffered, manual, due = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local ledger, failures, entries, state, found_last = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local ledger_size, channel, own = word(), word(), word()
local runs_at, claims_at, count, request = word(), word(), word(), word()
local answered = answered_before(found_last, request)
if answered then return answered end
local mine, full, lost, freed = {}, {}, {}, false

local page = redis.call('HSCAN', runs, runs_at, 'COUNT', count)
runs_at = page[1]
for i = 1, #page[2], 2 do
  local field = page[2][i]
  local id = string.match(field, '^%S+') or field
  local token, started, nominal, worker, entry = string.match(page[2][i + 1], '^(%S+) (%S+) (%S+) (%S+) (.*)$')
  if token == own then
    mine[#mine + 1], mine[#mine + 2], mine[#mine + 3], mine[#mine + 4] = id, entry, nominal, ''
  elseif not token or not stands(workers, 0, token) then
    redis.call('HDEL', runs, field)
    if token then
      local why = 'its worker is gone'
      note_run(ledger, ledger_size, 'lost', entry, nominal, id, worker, started, '', why)
      full[#full + 1] = count_run(failures, entries, entry, 'lost', id, why)
      for _, word_ in ipairs({id, entry, nominal, worker}) do lost[#lost + 1] = word_ end
    end
  end
end
page = redis.call('HSCAN', claims, claims_at, 'COUNT', count)
claims_at = page[1]
for i = 1, #page[2], 2 do
  local key = page[2][i]
  local id, until_, token = claim_of(claims, key)
  if token == own then
    mine[#mine + 1], mine[#mine + 2], mine[#mine + 3], mine[#mine + 4] = id, '', '', key
  elseif not id or not stands(workers, until_, token) then
    freed = release(claims, buffered, manual, due, state, key) or freed
  end
end
if freed then wake(channel, 'edit') end
if #lost > 0 then remember(found_last, request, {runs_at, claims_at, {}, full, lost}) end
return {runs_at, claims_at, mine, full, lost}
