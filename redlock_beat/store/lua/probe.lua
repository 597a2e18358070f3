-- The first write after the fence is one that a server out of memory refuses: then nothing at all has been done.
-- Scripts do not roll back. Returns that error, or nil; what else may be wrong with this key stops nobody.
local function out_of_memory(...)
  local got = redis.pcall(...)
  if type(got) == 'table' and got.err and string.find(got.err, 'OOM', 1, true) then return got end
end
