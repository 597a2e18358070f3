-- The arguments, read one after the other. A list is its length and its words; a list of lists is its length and they.
local at = 1
local function word()
  at = at + 1
  return ARGV[at - 1]
end
local function words()
  local found = {}
  for i = 1, tonumber(word()) do found[i] = word() end
  return found
end
local function rows()
  local found = {}
  for i = 1, tonumber(word()) do found[i] = words() end
  return found
end
