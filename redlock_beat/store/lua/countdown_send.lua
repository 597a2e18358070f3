-- Calls whose time has come are sent: fence, compare, push, remove, ledger, in one step.
--
-- What is compared is the token, which is another one for each call: one that was cancelled, or has taken the place of
-- another, is stale. Each push is a pcall; when one fails, the pushes of that call are taken back, and it is put off.
-- A call may be put off by the beat, too, which cannot read or render it.
--
-- KEYS: lease, epoch, hold, countdowns, countdown_items, ledger, beats, outbox
-- ARGV: the fence, ledger size, broker's database number, schedule's, token, heartbeat, number of calls, then for each:
--   id, token of the call ('' for rubbish: whatever stands there),
--   score to try again at, should it fail; why it is put off now ('' to send it),
--   what the ledger says it is then ('' for nothing: it is claimed, and sent by another script),
--   number of pushes, each: how many words, the words ('CLAIM', id, item: into the outbox),
--   words of its ledger row: how many, the words ('is' and its outcome are added)
-- returns: what became of each: 'ok', 'stale' or 'failed: why'
-- include: sending
-- include: ledger
-- include: probe
-- include: deliver
local countdowns, items, ledger, beats, outbox = KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local ledger_size, broker_db, own_db, token, heartbeat = word(), word(), word(), word(), word()
local refused = out_of_memory('HSET', beats, token, heartbeat)
if refused then return refused end
renew_term()

local function stands(id, of)
  if not redis.call('ZSCORE', countdowns, id) then return false end
  local item = redis.call('HGET', items, id) or ''
  return of == '' or string.sub(item, 1, #of + 1) == of .. ' '
end

local answer = {}
for i = 1, tonumber(word()) do
  local id, of, again, put_off, outcome = word(), word(), word(), word(), word()
  local pushes, row = rows(), words()
  if not stands(id, of) then
    answer[i] = 'stale'
  else
    local why = put_off
    if why == '' then
      local claims = pushes[1] and pushes[1][1] == 'CLAIM'
      why = deliver(pushes, outbox, broker_db ~= own_db and not claims, broker_db, own_db)
    end
    if why then
      redis.call('ZADD', countdowns, again, id)
      note(ledger, ledger_size, {'is', 'failed', 'why', string.sub(why, 1, 300), unpack(row)})
      answer[i] = 'failed: ' .. why
    else
      redis.call('ZREM', countdowns, id)
      redis.call('HDEL', items, id)
      if outcome ~= '' then note(ledger, ledger_size, {'is', outcome, unpack(row)}) end
      answer[i] = 'ok'
    end
  end
end
return answer
