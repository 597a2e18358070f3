-- The term that a script is called for, which is what its first two keys and first three arguments say.
--
-- A term is token and epoch, the first two words of the lease. It holds while the key begins with them; and
-- when the key has lapsed while nobody took a term or gave one back since (the epoch is still ours), it is
-- simply retaken.
-- include: words
-- include: presence
local lease, epochs = KEYS[1], KEYS[2]
local lease_text, epoch, ttl = word(), word(), word()

local function term_of(text) return string.match(text, '^%S+ %S+ ') end

local function term_holds()
  local held = redis.call('GET', lease)
  if held then return held == lease_text or term_of(held) == term_of(lease_text) end
  return redis.call('GET', epochs) == epoch
end

-- Renew, and note in the third word whether this server sees the holder's subscription: by that word the
-- standbys know whether its absence means anything. Returns whether it does.
-- PEXPIRE and not SET: a server at its memory limit refuses SET, and a leader must not be lost to that.
local function renew_term()
  local token, term, owner = string.match(lease_text, '^(%S+) (%S+) %S+ (.*)$')
  local seen = present(lease, token)
  local text = token .. ' ' .. term .. (seen and ' seen ' or ' unseen ') .. owner
  local held = redis.call('GET', lease)
  if held == text then
    redis.call('PEXPIRE', lease, ttl)
  elseif held then
    local noted = redis.pcall('SET', lease, text, 'PX', ttl)
    if noted.err then redis.call('PEXPIRE', lease, ttl) end
  else
    redis.call('SET', lease, text, 'PX', ttl)
  end
  return seen
end
