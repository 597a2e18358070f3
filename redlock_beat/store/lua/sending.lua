-- The fence of every script that sends: its third key is the hold, and while everything is held it does nothing at all.
-- include: fence
-- include: held
if held_until(KEYS[3]) then return 'HELD' end
