-- The fence: included by every script that writes for a leader.
--
-- A term is token and epoch, the first two words of the lease. It holds while the key begins with them; and
-- when the key has lapsed while nobody took a term or gave one back since (the epoch is still ours), it is
-- simply retaken.
-- include: presence
local function term_of(text) return string.match(text, '^%S+ %S+ ') end

local function term_holds(lease_key, epoch_key, text, epoch)
  local held = redis.call('GET', lease_key)
  if held then return held == text or term_of(held) == term_of(text) end
  return redis.call('GET', epoch_key) == epoch
end

-- Renew, and note in the third word whether this server sees the holder's subscription: by that word the
-- standbys know whether its absence means anything. Returns whether it does.
-- PEXPIRE and not SET: a server at its memory limit refuses SET, and a leader must not be lost to that.
local function renew_term(lease_key, text, ttl)
  local token, epoch, owner = string.match(text, '^(%S+) (%S+) %S+ (.*)$')
  local seen = present(lease_key, token)
  local now = token .. ' ' .. epoch .. (seen and ' seen ' or ' unseen ') .. owner
  local held = redis.call('GET', lease_key)
  if held == now then
    redis.call('PEXPIRE', lease_key, ttl)
  elseif held then
    local noted = redis.pcall('SET', lease_key, now, 'PX', ttl)
    if noted.err then redis.call('PEXPIRE', lease_key, ttl) end
  else
    redis.call('SET', lease_key, now, 'PX', ttl)
  end
  return seen
end
