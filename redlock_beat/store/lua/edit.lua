-- Edits of the schedule: each compared with the state it was made from. All or none are applied.
--
-- The state text changes with every change of an entry, so comparing it compares uid, revision and
-- progress at once. The answer is remembered for a while under the request's key, so that a retry
-- after a lost reply is harmless.
--
-- KEYS: lease, epoch, entries, state, due, digests, configured, archive, quarantine, manual, config, slow, edit log,
--       failures[, request]
-- ARGV: the fence (its text '' for an edit by anyone), wake channel,
--       'all' or 'each' (leave out those that do not compare),
--       text of `config` ('=' to leave it), size of the edit log,
--       the edits, each of another entry, as JSON (one text is read at once where a thousand words are not), each
--   [name, expected state ('' not there, '+' there, '*' any, '@uid revision' however far it has come),
--    definition, state ('~revision' to change that alone), score, digest, archive
--    ('=' leave, '-' remove, else the value),
--    [manual item, score, ...], [row of the edit log, ...]]
-- returns: 'ok', or 'conflict <index from 0> <state now, if any>'; in mode 'each'
--   'ok' followed by the indexes left out
-- include: term
-- include: wake
-- include: ledger
-- include: digest
local entries, state, due, archive, quarantine = KEYS[3], KEYS[4], KEYS[5], KEYS[8], KEYS[9]
local manual, config, slow, edit_log, failures, request = KEYS[10], KEYS[11], KEYS[12], KEYS[13], KEYS[14], KEYS[15]
local channel, mode, mark, log_size = word(), word(), word(), word()
local NAME, EXPECTED, DEFINITION, STATE, SCORE, DIGEST, ARCHIVE, MANUAL, ROWS = 1, 2, 3, 4, 5, 6, 7, 8, 9
local fenced = lease_text ~= ''
local remembered = request and redis.call('GET', request)
if remembered then return remembered end
if fenced and not term_holds() then return 'DEPOSED' end

local given, names = cjson.decode(word()), {}
for i, edit in ipairs(given) do names[i] = edit[NAME] end
local states = #names > 0 and redis.call('HMGET', state, unpack(names)) or {}
local edits, left_out = {}, {}
for i, edit in ipairs(given) do
  local now, expected = states[i], edit[EXPECTED]
  local fits = expected == '*'
    or now == expected
    or (now and string.sub(expected, 1, 1) == '@'
        and string.sub(now, 1, #expected) == string.sub(expected, 2) .. ' ')
    or (expected == '+' and now)
    or (expected == '' and not now and redis.call('HEXISTS', entries, edit[NAME]) == 0)
  if fits then
    edits[#edits + 1] = edit
    if string.sub(edit[STATE], 1, 1) == '~' then
      local uid, rest = string.match(now, '^(%S+) %S+ (.*)$')
      edit[STATE] = uid .. ' ' .. string.sub(edit[STATE], 2) .. ' ' .. rest
    end
  elseif mode == 'all' then
    local answer = 'conflict ' .. (i - 1) .. ' ' .. (now or '')
    if request then redis.call('SET', request, answer, 'PX', 300000) end
    return answer
  else
    left_out[#left_out + 1] = i - 1
  end
end

local answer = 'ok'
if #left_out > 0 then answer = 'ok ' .. table.concat(left_out, ' ') end
-- The first write is one that a full server refuses: then nothing at all has been done. What only
-- removes is let through all the same, unremembered: it makes room.
if request then
  local frees = #edits > 0
  for _, edit in ipairs(edits) do frees = frees and edit[DEFINITION] == '-' and #edit[MANUAL] == 0 end
  local kept = redis.pcall('SET', request, answer, 'PX', 300000)
  if kept.err and not frees then return kept end
end
-- Write one part of all edits with one command, and remove it with another: *value first* as ZADD wants it.
local function put(key, part, set, remove, value_first)
  local there, gone = {}, {}
  for _, edit in ipairs(edits) do
    local name, value = edit[NAME], edit[part]
    if value == '-' then
      gone[#gone + 1] = name
    elseif value ~= '=' then
      there[#there + 1] = value_first and value or name
      there[#there + 1] = value_first and name or value
    end
  end
  if #gone > 0 then redis.call(remove, key, unpack(gone)) end
  if #there > 0 then redis.call(set, key, unpack(there)) end
end
put(entries, DEFINITION, 'HSET', 'HDEL')
put(state, STATE, 'HSET', 'HDEL')
put(due, SCORE, 'ZADD', 'ZREM', true)
put(archive, ARCHIVE, 'HSET', 'HDEL')
local touched = {}
for _, edit in ipairs(edits) do
  put_digest(edit[NAME], edit[DIGEST])
  if edit[DEFINITION] ~= '=' then touched[#touched + 1] = edit[NAME] end
  for i = 1, #edit[MANUAL], 2 do redis.call('ZADD', manual, edit[MANUAL][i + 1], edit[MANUAL][i]) end
  for _, row in ipairs(edit[ROWS]) do note(edit_log, log_size, row) end
end
if #touched > 0 then
  for _, key in ipairs({quarantine, slow, failures}) do redis.call('HDEL', key, unpack(touched)) end
end
if mark ~= '=' then redis.call('SET', config, mark) end
if fenced then renew_term() end
if #edits > 0 then wake(channel, 'edit') end
return answer
