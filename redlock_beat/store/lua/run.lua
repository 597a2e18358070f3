-- What becomes of a run: its row of the ledger, and how many runs of an entry have failed in a row.
-- include: ledger
-- What a worker last asked under this key, and what it was answered: when it asks again, since the answer was lost, it is
-- answered as before. It may be cut off for long, and asks one thing at a time: one answer is kept, for a day.
local function answered_before(key, request)
  local last = redis.call('GET', key) or ''
  if string.sub(last, 1, #request + 1) == request .. ' ' then return cjson.decode(string.sub(last, #request + 2)) end
end
local function remember(key, request, answer)
  redis.call('SET', key, request .. ' ' .. cjson.encode(answer), 'PX', 86400000)
end
-- Returns {entry, runs failed in a row, task id, why} when that is as many as the entry allows, else nil.
local function count_run(failures, entries, entry, what, id, why)
  if what == 'succeeded' then
    redis.call('HDEL', failures, entry)
  elseif what == 'failed' or what == 'lost' then
    local definition = redis.call('HGET', entries, entry)
    if not definition then return nil end
    local many = redis.call('HINCRBY', failures, entry, 1)
    local limit = string.match(definition, '"pause":(%d+)')
    if limit and many >= tonumber(limit) then return {entry, many, id, why} end
  end
end
local function note_run(ledger, size, what, entry, nominal, id, worker, started, took, why)
  local row = {'is', 'ran', 'outcome', what, 'entry', entry, 'nominal', nominal, 'id', id, 'by', worker,
               'started', started}
  if took ~= '' then row[#row + 1], row[#row + 2] = 'took', took end
  if why ~= '' then row[#row + 1], row[#row + 2] = 'why', why end
  note(ledger, size, row)
end
