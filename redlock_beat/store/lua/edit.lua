-- Edits of the schedule: each compared with the state it was made from. All or none are applied.
--
-- The state text changes with every change of an entry, so comparing it compares uid, revision and
-- progress at once. The answer is remembered for a while under the request's key, so that a retry
-- after a lost reply is harmless.
--
-- KEYS: lease, epoch, entries, state, due, configured, archive, quarantine, manual, config, slow[, request]
-- ARGV: the fence (its text '' for an edit by anyone), wake channel,
--       'all' or 'each' (leave out those that do not compare),
--       text of `config` ('=' to leave it), number of edits, then for each:
--   name, expected state ('' not there, '+' there, '*' any, '@uid revision' however far it has come),
--   definition, state ('~revision' to change that alone), score, configured, archive
--   ('=' leave, '-' remove, else the value),
--   number of manual items, each: item, score
-- returns: 'ok', or 'conflict <index from 0> <state now, if any>'; in mode 'each'
--   'ok' followed by the indexes left out
-- include: term
-- include: wake
local entries, state, due, configured, archive = KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local quarantine, manual, config, slow, request = KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local channel, mode, mark = word(), word(), word()
local fenced = lease_text ~= ''
local remembered = request and redis.call('GET', request)
if remembered then return remembered end
if fenced and not term_holds() then return 'DEPOSED' end

local edits, left_out = {}, {}
for i = 1, tonumber(word()) do
  local edit = {name = word(), expected = word(), definition = word(), state = word(), score = word(),
                configured = word(), archive = word(), manual = {}}
  for j = 1, tonumber(word()) do
    edit.manual[j] = {word(), word()}
  end
  local now = redis.call('HGET', state, edit.name)
  edit.now = now
  local fits = edit.expected == '*'
    or (now and string.sub(edit.expected, 1, 1) == '@'
        and string.sub(now, 1, #edit.expected) == string.sub(edit.expected, 2) .. ' ')
    or (edit.expected == '+' and now)
    or (edit.expected == '' and not now and redis.call('HEXISTS', entries, edit.name) == 0)
    or now == edit.expected
  if fits then
    edits[#edits + 1] = edit
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
  for _, edit in ipairs(edits) do frees = frees and edit.definition == '-' and #edit.manual == 0 end
  local kept = redis.pcall('SET', request, answer, 'PX', 300000)
  if kept.err and not frees then return kept end
end
local function put(key, name, value)
  if value == '-' then
    redis.call('HDEL', key, name)
  elseif value ~= '=' then
    redis.call('HSET', key, name, value)
  end
end
for _, edit in ipairs(edits) do
  put(entries, edit.name, edit.definition)
  if string.sub(edit.state, 1, 1) == '~' then
    local uid, rest = string.match(edit.now, '^(%S+) %S+ (.*)$')
    edit.state = uid .. ' ' .. string.sub(edit.state, 2) .. ' ' .. rest
  end
  put(state, edit.name, edit.state)
  if edit.score == '-' then
    redis.call('ZREM', due, edit.name)
  elseif edit.score ~= '=' then
    redis.call('ZADD', due, edit.score, edit.name)
  end
  put(configured, edit.name, edit.configured)
  put(archive, edit.name, edit.archive)
  if edit.definition ~= '=' then
    redis.call('HDEL', quarantine, edit.name)
    redis.call('HDEL', slow, edit.name)
  end
  for _, item in ipairs(edit.manual) do redis.call('ZADD', manual, item[2], item[1]) end
end
if mark ~= '=' then redis.call('SET', config, mark) end
if fenced then renew_term() end
if #edits > 0 then wake(channel, 'edit') end
return answer
