-- The fence: every script that writes for a leader begins with it. What follows runs only while the term holds.
-- include: term
if not term_holds() then return 'DEPOSED' end
