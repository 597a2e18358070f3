-- The row of the ledger of an occurrence that is sent or failed; *how* is '' for one of the schedule's own slots.
-- include: ledger
local function note_occurrence(ledger, size, what, name, nominal, owner, id, how, why)
  local row = {'is', what, 'entry', name, 'nominal', nominal, 'epoch', epoch, 'by', owner, 'id', id}
  if how ~= '' then
    row[#row + 1] = 'how'
    row[#row + 1] = how
  end
  if why then
    row[#row + 1] = 'why'
    row[#row + 1] = string.sub(why, 1, 300)
  end
  note(ledger, size, row)
end
