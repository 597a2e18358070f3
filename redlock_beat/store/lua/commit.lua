-- The commit, slot by slot: turns due slots into sent ones. Fence, compare, advance, push, note, in one step.
--
-- Scripts do not roll back, so: the first write is one that a full server refuses; a slot is advanced
-- before it is pushed (own keys cannot fail half-way); each push is a pcall; and when one fails, that
-- slot's pushes are taken back and it is tried again later. No slot's error touches another's.
--
-- Of an entry that may have one run at a time: while one is under way, the slot is skipped or waits in `manual`.
--
-- KEYS: lease, epoch, hold, due, state, entries, ledger, manual, beats, outbox, workers, claims, buffered, cancelling
-- ARGV: the fence, ledger size, broker's database number, schedule's,
--       token, heartbeat, owner, number of items, then for each:
--   name,
--   '' for an entry that is due, or for an item of `manual` the score of its next try,
--   expected score, or the manual item; expected state ('' for an item),
--   score after ('' to leave `due`), state after ('' to remove the entry),
--   1 when the pushes go to the broker's database, else 0; 1 when they are to be noted as sent, else 0,
--   nominal, id ('' when nothing is sent), how,
--   '' where runs may overlap, or skip, buffer or cancel; then for how long (microseconds) a run may wait for a worker,
--   how many slots may wait for it, the item of `manual` that waits ('' for none), and '1' to terminate what is cancelled,
--   number of pushes, each: how many words, the words ('CLAIM', id and text: into the outbox),
--   number of other ledger rows, each: how many words, the words
-- returns: what became of each: 'ok', 'stale', 'failed: why', 'skipped: what held it up', 'waits: what holds it up',
--   or 'cancels: the id of a run' for one that is ok, too
-- include: sending
-- include: sent
-- include: overlap
-- include: entry
-- include: place
-- include: deliver
-- include: probe
local due, state, entries, ledger = KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local manual, beats, outbox = KEYS[8], KEYS[9], KEYS[10]
local workers, claims, buffered, cancelling = KEYS[11], KEYS[12], KEYS[13], KEYS[14]
local ledger_size, broker_db, own_db, token, heartbeat, owner = word(), word(), word(), word(), word(), word()
local refused = out_of_memory('HSET', beats, token, heartbeat)
if refused then return refused end
renew_term()

-- One more attempt has failed: a second's pause at first, ever longer, a minute at most. Rubbish stays as it was.
local function try_later(name, text)
  local head, attempts = string.match(text, '^(.*) (%d+)$')
  redis.call('HSET', state, name, head and head .. ' ' .. attempts + 1 or text)
  attempts = attempts or 0
  place(due, name, string.format('%d.%s', seconds + math.min(60, 2 ^ math.min(attempts, 10)), rest))
end
-- Something is under way, so a slot is skipped, or waits: in `manual`, or, when it is the last of its entry, in `due`.
local function keep_waiting(one)
  local in_due = not one.waits and one.after == ''
  local item = one.waits and one.expected or in_due and itself(one.before) or one.waiter
  local known = false
  for _, other in ipairs(one.waiting) do known = known or other == item end
  if not known then
    if one.policy ~= 'buffer' or #one.waiting >= one.most then return false end
    one.waiting[#one.waiting + 1] = item
  end
  if in_due then
    redis.call('ZADD', due, 'XX', one.again, one.name)
  else
    redis.call('ZADD', manual, one.again, item)
    if not one.waits then
      redis.call('HSET', state, one.name, one.after)
      place(due, one.name, one.score_after)
    end
  end
  if not known then
    wait_for(buffered, one.name, one.waiting)
    note_occurrence(ledger, ledger_size, 'buffered', one.name, one.nominal, owner, one.id, one.how,
                    'overlap: it waits for ' .. one.why)
  end
  return true
end
local function hold_up(one)
  if keep_waiting(one) then return 'waits: ' .. one.why end
  if one.waits then
    redis.call('ZREM', manual, one.expected)
  elseif one.after == '' then
    redis.call('ZREM', due, one.name)
    redis.call('HDEL', state, one.name)
    redis.call('HDEL', entries, one.name)
  else
    redis.call('HSET', state, one.name, one.score_after ~= '' and not_sent(one.before, one.after) or one.after)
    place(due, one.name, one.score_after)
  end
  note_occurrence(ledger, ledger_size, 'skipped', one.name, one.nominal, owner, one.id, one.how,
                  'overlap: ' .. one.why .. ' is under way')
  return 'skipped: ' .. one.why
end

local answer = {}
for i = 1, tonumber(word()) do
  local name, retry, expected, text = word(), word(), word(), word()
  local score_after, state_after, away, noted = word(), word(), word() == '1', word() == '1'
  local nominal, id, how = word(), word(), word()
  local policy, limit, most, waiter, terminate = word(), '0', 0, '', ''
  if policy ~= '' then limit, most, waiter, terminate = word(), tonumber(word()), word(), word() end
  local pushes, others = rows(), rows()
  local waits = retry ~= ''
  local current
  if waits then
    current = redis.call('ZSCORE', manual, expected)
  else
    current = unchanged(due, state, name, expected, text)
  end
  local why, again, runs, waiting, held
  if current and policy ~= '' and id ~= '' then
    why, again, runs, waiting, held =
      held_up(workers, claims, buffered, manual, state, name, id, waits and expected or itself(text))
  end
  if not current then
    answer[i] = 'stale'
  elseif why and not (policy == 'cancel' and runs) then
    answer[i] = hold_up({
      name = name, waits = waits, expected = expected, before = text, after = state_after, score_after = score_after,
      nominal = nominal, id = id, how = how, policy = policy, most = runs and most or most + 1, waiter = waiter,
      why = why, again = again, waiting = waiting})
    -- What waits where it is comes again, and its rows with it.
    if string.sub(answer[i], 1, 5) ~= 'waits' or not (waits or state_after == '') then
      for _, row in ipairs(others) do note(ledger, ledger_size, row) end
    end
  else
    local definition = nil
    if waits then
      redis.call('ZREM', manual, expected)
    elseif state_after == '' then
      definition = redis.call('HGET', entries, name)
      redis.call('ZREM', due, name)
      redis.call('HDEL', state, name)
      redis.call('HDEL', entries, name)
    else
      redis.call('HSET', state, name, state_after)
      place(due, name, score_after)
    end
    why = deliver(pushes, outbox, away, broker_db, own_db)
    if why then
      if waits then
        redis.call('ZADD', manual, retry, expected)
      else
        if definition then redis.call('HSET', entries, name, definition) end
        try_later(name, text)
      end
      note_occurrence(ledger, ledger_size, 'failed', name, nominal, owner, id, how, why)
      answer[i] = 'failed: ' .. why
    else
      for _, row in ipairs(others) do note(ledger, ledger_size, row) end
      if noted then note_occurrence(ledger, ledger_size, 'sent', name, nominal, owner, id, how) end
      answer[i] = 'ok'
      if policy ~= '' and id ~= '' and #pushes > 0 then
        if held and held ~= id then
          redis.call('HSET', cancelling, held, terminate)
          answer[i] = 'cancels: ' .. held
        end
        if #waiting > 0 then
          table.remove(waiting, 1)
          wait_for(buffered, name, waiting)
        end
        claim(claims, name, id, string.format('%d', tonumber(now) + tonumber(limit)), '-', limit)
      end
    end
  end
end
return answer
