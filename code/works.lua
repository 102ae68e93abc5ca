-- Tangled from chapters/67-weaver.md; edit there.
-- Find the works that some blocks cite
local function cited(blocks)
  local entries = {}
  pandoc.Div(blocks):walk {Cite = function(cite)
    for _, one in ipairs(cite.citations) do entries["ref-" .. one.id] = true end
  end}
  return entries
end

-- divide: leaves in the report's list of works what the report cites
local function divide(doc)
  -- Find the list of works
  local place
  for i, block in ipairs(doc.blocks) do
    if block.t == "Div" and block.identifier == "refs" then place = i end
  end
  if not place then return nil end
  -- Take out what the report does not cite
  local report = cited({table.unpack(doc.blocks, 1, place - 1)})
  local list, rest = pandoc.List(), pandoc.List()
  for _, entry in ipairs(doc.blocks[place].content) do
    local into = report[entry.identifier] and list or rest
    into:insert(entry)
  end
  doc.blocks[place].content = list
  if #rest == 0 then return nil end
  -- Tell where the rest is, and set it there
  local function raw(text) return pandoc.RawBlock("latex", text) end

  doc.blocks:insert(place + 1, raw("\\par\\medskip{\\footnotesize\\noindent " ..
    "What the other parts cite is on page~\\pageref{works}.\\par}"))
  doc.blocks:insert(raw("\\addchap{Further works}\\label{works}" ..
    "\\begin{CSLReferences}{1}{0}"))
  doc.blocks:extend(rest)
  doc.blocks:insert(raw("\\end{CSLReferences}"))
  return doc
end

return {{Pandoc = divide}}
