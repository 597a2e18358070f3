-- The commit of many slots that are one message for one list each, and at most one slot of an entry.
-- The list is one of the broker's, if the broker is this server, and else the outbox.
--
-- It does what commit.lua does, with one command for all of them where there is one. Messages are
-- pushed first: when a list takes none, nothing else is done about its slots, and commit.lua is asked
-- about each of them. Own keys, which were just read, cannot fail half-way.
--
-- A slot whose entry may have one run at a time is skipped here, and goes by commit.lua when it is to wait or cancel.
--
-- KEYS: lease, epoch, hold, due, state, entries, ledger, beats, outbox, manual, workers, claims, buffered
-- ARGV: the fence, ledger size, broker's database number, schedule's,
--       token, heartbeat, owner,
--       JSON: {q: [[list or '' for the outbox, how many], ...], n: names, s: expected scores, or manual items,
--              t: expected states, a: scores after ('' to leave `due`), u: states after ('' to remove the entry),
--              o: '' where runs may overlap, else for how long (microseconds) one may wait for a worker, and k: '1'
--              where a slot is then skipped (both left out when all may), i: ids, m: nominals, h: how ('' for a slot that is due; left out when all are),
--              b: ids in the outbox ('' for the id and ':0'; left out when all are that)}, grouped by list,
--       then the messages in that order. The columns are JSON, since thousands of words are slow to make and to read.
-- returns: {one letter each (o sent, c claimed, s stale, f failed, k skipped, h held up), why}
-- include: sending
-- include: sent
-- include: overlap
-- include: probe
local due, state, entries, ledger, beats, outbox = KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local manual, workers, claims, buffered = KEYS[10], KEYS[11], KEYS[12], KEYS[13]
local ledger_size, broker_db, own_db, token, heartbeat = tonumber(word()), word(), word(), word(), word()
local owner, given = word(), cjson.decode(word())
local message_of = at - 1
local refused = out_of_memory('HSET', beats, token, heartbeat)
if refused then return refused end
renew_term()

local away = broker_db ~= own_db
local names, ids, nominals, scores_after, states_after, hows = given.n, given.i, given.m, given.a, given.u, given.h
local scores, states = redis.call('ZMSCORE', due, unpack(names)), redis.call('HMGET', state, unpack(names))
local expected_scores, expected_states = given.s, given.t
local waiting = hows and redis.call('ZMSCORE', manual, unpack(expected_scores))

-- Of entries with one run at a time: what they have under way, and whether anything waits for its end.
local limits, under_way, behind, begun, busy = given.o, nil, nil, {}, {}
if limits then
  under_way, behind = redis.call('HMGET', claims, unpack(names)), redis.call('HMGET', buffered, unpack(names))
end
local function may_run(i)
  if limits[i] == '' then return true end
  if behind[i] or begun[names[i]] then return false end
  if not under_way[i] then return true end
  local held, until_, by = claim_of(claims, names[i])
  if not held or held == ids[i] or not stands(workers, until_, by) then return true end
  busy[i] = held
  return false
end

-- What is claimed stands under its id and the number of the message, of which there is one; what has been rendered anew
-- under an id of its own.
local outbox_ids = given.b
local function into_outbox(messages, who)
  local items = {}
  for at, i in ipairs(who) do
    items[2 * at - 1] = outbox_ids and outbox_ids[i] ~= '' and outbox_ids[i] or ids[i] .. ':0'
    items[2 * at] = messages[at]
  end
  return redis.pcall('HSET', outbox, unpack(items))
end
local function push(list, messages, who)
  if list == '' then return into_outbox(messages, who) end
  if away then
    local went = redis.pcall('SELECT', broker_db)
    if went.err then return went end
  end
  local got = redis.pcall('LPUSH', list, unpack(messages))
  if away then redis.call('SELECT', own_db) end
  return got
end

local result, why = {}, ''
local moved, kept, gone, taken = {}, {}, {}, {}
local function advance(i, after)
  if hows and hows[i] ~= '' then
    taken[#taken + 1] = expected_scores[i]
  elseif after == '' then
    gone[#gone + 1] = names[i]
  else
    kept[#kept + 1] = names[i]
    kept[#kept + 1] = after
    if scores_after[i] == '' then
      redis.call('ZREM', due, names[i])
    else
      moved[#moved + 1] = scores_after[i]
      moved[#moved + 1] = names[i]
    end
  end
end

local done = 0
for _, list in ipairs(given.q) do
  local messages, who = {}, {}
  for i = done + 1, done + list[2] do
    -- No function is called for most: a thousand calls are a tenth of the whole script's time.
    local there
    if hows and hows[i] ~= '' then
      there = waiting[i]
    else
      there = states[i] == expected_states[i] and scores[i] == expected_scores[i]
    end
    if not there then
      result[i] = 's'
    elseif limits and not may_run(i) then
      result[i] = 'h'
      if busy[i] and given.k[i] == '1' then
        result[i] = 'k'
        advance(i, scores_after[i] ~= '' and not_sent(states[i], states_after[i]) or states_after[i])
      end
    else
      messages[#messages + 1] = ARGV[message_of + i]
      who[#who + 1] = i
      if limits and limits[i] ~= '' then begun[names[i]] = true end
    end
  end
  done = done + list[2]
  if #who > 0 then
    local got = push(list[1], messages, who)
    local failed = type(got) == 'table' and got.err
    if failed then why = got.err end
    local letter = failed and 'f' or list[1] == '' and 'c' or 'o'
    for _, i in ipairs(who) do
      result[i] = letter
      if not failed then advance(i, states_after[i]) end
    end
  end
end
if #moved > 0 then redis.call('ZADD', due, unpack(moved)) end
if #kept > 0 then redis.call('HSET', state, unpack(kept)) end
if #taken > 0 then redis.call('ZREM', manual, unpack(taken)) end
if limits then
  local taken_up = {}
  for i = 1, #names do
    if limits[i] ~= '' and (result[i] == 'o' or result[i] == 'c') then
      taken_up[#taken_up + 1] = names[i]
      taken_up[#taken_up + 1] = ids[i] .. string.format(' %d - ', tonumber(now) + tonumber(limits[i])) .. limits[i]
    end
  end
  if #taken_up > 0 then redis.call('HSET', claims, unpack(taken_up)) end
end
if #gone > 0 then
  redis.call('ZREM', due, unpack(gone))
  redis.call('HDEL', state, unpack(gone))
  redis.call('HDEL', entries, unpack(gone))
end
if ledger_size > 0 then
  for i = 1, #names do
    if result[i] == 'o' then
      if hows and hows[i] ~= '' then
        note_occurrence(ledger, ledger_size, 'sent', names[i], nominals[i], owner, ids[i], hows[i])
      else
        redis.pcall('XADD', ledger, '*', 'at', now, 'is', 'sent', 'entry', names[i],
                    'nominal', nominals[i], 'epoch', epoch, 'by', owner, 'id', ids[i])
      end
    end
  end
  for i, held in pairs(busy) do
    if result[i] == 'k' then
      note_occurrence(ledger, ledger_size, 'skipped', names[i], nominals[i], owner, ids[i], hows and hows[i] or '',
                      'overlap: run ' .. held .. ' is under way')
    end
  end
  redis.pcall('XTRIM', ledger, 'MAXLEN', '~', ledger_size)
end
return {table.concat(result), why}
