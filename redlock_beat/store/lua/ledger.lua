-- A row of the ledger, or of the edit log, which keeps so many. A server that refuses it loses the row and not what it
-- speaks of.
-- include: time
local function note(ledger, size, row)
  if #row == 0 or tonumber(size) == 0 then return end
  redis.pcall('XADD', ledger, 'MAXLEN', '~', size, '*', 'at', now, unpack(row))
end
