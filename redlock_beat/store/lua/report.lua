-- A worker tells what became of runs.
-- KEYS: workers, runs, claims, buffered, manual, due, ledger, failures, entries, state, what it told last
-- ARGV: ledger size, wake channel, the worker's token and name, request, JSON: a list of lists of texts, each:
--   what ('started', 'succeeded', 'failed', 'retried', 'rejected', 'revoked', 'ignored', 'dropped', 'lost'),
--   task id, entry, nominal, claim ('' for none), microseconds since it began, seconds it took ('' for unknown),
--   microseconds after which its message may come again ('' when it is over; of what is dropped: '0' when it runs here), why
-- returns: {now, {{entry, runs failed in a row, task id, why}, ...} of those with as many as they allow}
-- include: words
-- include: claims
-- include: run
-- include: wake
local workers, runs, claims, buffered, manual, due = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local ledger, failures, entries, state, told_last = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local ledger_size, channel, token, worker, request = word(), word(), word(), word(), word()
-- Read first: of what cannot be read nothing is heard.
local reports = cjson.decode(word())
-- A report that is made again, since its answer was lost, is heard once, and answered as before. A full server refuses it.
local answered = answered_before(told_last, request)
if answered then return {now, answered} end
remember(told_last, request, {})

local answer, freed = {}, false
local function ended(id, claim_key, again)
  if claim_key == '' then return end
  local held, until_, by, limit = claim_of(claims, claim_key)
  if held ~= id then return end
  -- The same run was repeated meanwhile, on a worker that lives: it is that one's.
  if by ~= '-' and by ~= token and stands(workers, until_, by) then return end
  if again ~= '' then
    claim(claims, claim_key, id, string.format('%d', tonumber(now) + tonumber(again) + tonumber(limit)), '-', limit)
  else
    freed = release(claims, buffered, manual, due, state, claim_key) or freed
  end
end
-- A run stands under its id; one that is said to run on another worker, too, under its id and the token of this one.
local function is_elsewhere(id)
  local by = string.match(redis.call('HGET', runs, id) or '', '^(%S+) ')
  return by and by ~= token
end
local function begun(id, text)
  redis.call('HSET', runs, is_elsewhere(id) and id .. ' ' .. token or id, text)
end
local function over(id)
  local gone = redis.call('HDEL', runs, id .. ' ' .. token)
  if not is_elsewhere(id) then gone = gone + redis.call('HDEL', runs, id) end
  return gone > 0
end
for _, told in ipairs(reports) do
  local what, id, entry, nominal, claim_key, ago, took, again, why = unpack(told)
  local started = string.format('%d', tonumber(now) - ago)
  if what == 'started' then
    begun(id, table.concat({token, started, nominal, worker, entry}, ' '))
    -- Its claim is taken by `begin`, which may still be on its way: what this worker has is not said to run twice.
  else
    -- What is dropped while the same worker runs it ('again') leaves that run alone.
    local ran = not (what == 'dropped' and again ~= '') and over(id)
    if what ~= 'dropped' then
      -- 'lost' is what a worker finds out about itself: that it said nothing of a run which it no longer has.
      if what ~= 'lost' or ran then
        note_run(ledger, ledger_size, what, entry, nominal, id, worker, started, took, why)
        answer[#answer + 1] = count_run(failures, entries, entry, what, id, why)
      end
      ended(id, claim_key, again)
    end
  end
end
if #answer > 0 then remember(told_last, request, answer) end
if freed then wake(channel, 'edit') end
return {now, answer}
